"""What the presets over one representation for all tasks have in common."""

from collections.abc import Callable, Mapping
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.bottoms import SharedBottomRepresentation
from tfmtl.models.build import build
from tfmtl.models.heads import Towers, Units
from tfmtl.spec.schema import Schema


def over_shared_bottom(
    schema: Schema,
    trunk: Callable[..., Any],
    name: str,
    *,
    tower_units: Units,
    towers: Mapping[str, Any] | None = None,
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    **options: Any,
) -> keras.Model:
    """A shared bottom, a trunk, a tower a task: the options of a preset go to the stage that they belong to.

    Args:
        schema: adapted.
        trunk: makes the trunk from `options`.
        name: of the model.
        tower_units: hidden layers of a tower.
        towers: further options of `Towers`, such as `{"dropout": 0.1, "base_rates": {"buy": 0.003}}`.
        embeddings_initializer, embeddings_regularizer: of the tables, as in `FeatureEmbedding`.
        **options: of the trunk.
    """
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    head = Towers(schema.tasks, units=tower_units, **(towers or {}))
    return build(schema, bottom, trunk(**options), head, name=name)

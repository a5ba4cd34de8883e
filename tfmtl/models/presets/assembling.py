"""What the presets have in common: every option goes to the stage that it belongs to."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.bottoms import SharedBottomRepresentation
from tfmtl.models.build import build
from tfmtl.models.heads import Towers, Units
from tfmtl.spec.schema import Schema


def assemble(
    schema: Schema,
    bottom: Callable[..., Any],
    trunk: Callable[..., Any],
    name: str,
    *,
    tower_units: Units,
    towers: Mapping[str, Any] | None = None,
    embeddings_initializer: Any = None,
    embeddings_regularizer: Any = None,
    **options: Any,
) -> keras.Model:
    """A bottom, a trunk, a tower a task.

    Args:
        schema: adapted.
        bottom: makes the bottom from the options of its tables.
        trunk: makes the trunk from `options`.
        name: of the model.
        tower_units: hidden layers of a tower.
        towers: further options of `Towers`, such as `{"dropout": 0.1, "base_rates": {"buy": 0.003}}`.
        embeddings_initializer: of the tables; None takes the bottom's own.
        embeddings_regularizer: of the tables, as in `FeatureEmbedding`.
        **options: of the trunk.
    """
    tables = {} if embeddings_initializer is None else {"embeddings_initializer": embeddings_initializer}
    made = bottom(embeddings_regularizer=embeddings_regularizer, **tables)
    head = Towers(schema.tasks, units=tower_units, **(towers or {}))
    return build(schema, made, trunk(**options), head, name=name)


def over_shared_bottom(schema: Schema, trunk: Callable[..., Any], name: str, **options: Any) -> keras.Model:
    """`assemble` over one representation for all tasks."""
    bottom = partial(SharedBottomRepresentation, schema.features, schema.task_names)
    return assemble(schema, bottom, trunk, name, **options)

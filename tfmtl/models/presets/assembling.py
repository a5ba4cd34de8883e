"""What the presets have in common: every option goes to the stage that it belongs to."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema.schema import Schema
from tfmtl.stages.bottoms import SharedBottomRepresentation
from tfmtl.stages.heads import Towers, Units


def assemble(
    schema: Schema,
    bottom: Callable[..., Any],
    trunk: Callable[..., Any],
    preset: str,
    /,
    *,
    tower_units: Units,
    name: str | None = None,
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
        preset: its name.
        tower_units: hidden layers of a tower.
        name: of the model; None takes the preset's.
        towers: further options of `Towers`, such as `{"dropout": 0.1, "base_rates": {"buy": 0.003}}`.
        embeddings_initializer: of the tables; None takes the bottom's own.
        embeddings_regularizer: of the tables, as in `FeatureEmbedding`.
        **options: of the trunk.
    """
    tables = {} if embeddings_initializer is None else {"embeddings_initializer": embeddings_initializer}
    made = bottom(embeddings_regularizer=embeddings_regularizer, **tables)
    head = Towers(schema.tasks, units=tower_units, **(towers or {}))
    return build(schema, made, trunk(**options), head, name=name or preset)


def over_shared_bottom(schema: Schema, trunk: Callable[..., Any], preset: str, /, **options: Any) -> keras.Model:
    """`assemble` over one representation for all tasks."""
    bottom = partial(SharedBottomRepresentation, schema.features, schema.task_names)
    return assemble(schema, bottom, trunk, preset, **options)

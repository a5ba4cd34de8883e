"""Models of a chain of steps, such as click, cart, buy."""

from collections.abc import Callable, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema.schema import Schema
from tfmtl.stages.bottoms import SharedBottomRepresentation
from tfmtl.stages.heads import AITMHead, ESMMHead, Units
from tfmtl.stages.trunks import SingleTask


def esmm(
    schema: Schema,
    chain: Sequence[str] | None = None,
    *,
    units: Sequence[int] = (256, 128),
    tower_units: Units = (64,),
    **options: Any,
) -> keras.Model:
    """Entire-space multi-task model: one network a step over shared embeddings. Ma et al., SIGIR 2018.

    Args:
        schema: adapted.
        chain: names of the steps, the first one first; None takes the tasks as declared.
        units: layers of each step's network.
        tower_units: hidden layers of its tower.
        **options: of `ESMMHead`; `embeddings_initializer` and `embeddings_regularizer` of the tables; `name` of the
            model.
    """
    return _chain(schema, chain, ESMMHead, "esmm", units=units, tower_units=tower_units, **options)


def aitm(
    schema: Schema,
    chain: Sequence[str] | None = None,
    *,
    units: Sequence[int] = (256, 128),
    tower_units: Sequence[int] = (64,),
    **options: Any,
) -> keras.Model:
    """Adaptive information transfer: every step draws on the step before. Xi et al., KDD 2021.

    Args:
        schema: adapted.
        chain: names of the steps, the first one first; None takes the tasks as declared.
        units: layers of each step's network.
        tower_units: its layers before the transfer.
        **options: of `AITMHead`; `embeddings_initializer` and `embeddings_regularizer` of the tables; `name` of the
            model.
    """
    return _chain(schema, chain, AITMHead, "aitm", units=units, tower_units=tower_units, **options)


def _chain(
    schema: Schema,
    chain: Sequence[str] | None,
    head: Callable[..., Any],
    preset: str,
    /,
    *,
    units: Sequence[int],
    tower_units: Units,
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    name: str | None = None,
    **options: Any,
) -> keras.Model:
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    made = head(schema.tasks, schema.task_names if chain is None else chain, units=tower_units, **options)
    return build(schema, bottom, SingleTask(units), made, name=name or preset)

"""Entire-space multi-task model."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import ESMMHead, SharedBottomRepresentation, SingleTask
from tfmtl.stages.heads import Units


def esmm(
    schema: Schema,
    chain: Sequence[str] | None = None,
    *,
    units: Sequence[int] = (256, 128),
    activation: Any = "relu",
    dropout: float = 0.0,
    kernel_initializer: Any = "glorot_uniform",
    tower_units: Units = (64,),
    tower_activation: Any = "relu",
    tower_dropout: float = 0.0,
    tower_batch_norm: bool = False,
    base_rates: Mapping[str, float] | None = None,
    interactions: Sequence[Any] = (),
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    name: str = "esmm",
) -> keras.Model:
    """Builds an entire-space multi-task model (ESMM): each step's probability is a product along the chain.

    `with_conditionals` adds how likely a step is where an earlier one happened (pCVR).

    Args:
        schema: adapted.
        chain: names of the steps, the first one first; None takes the tasks as declared.
        units: layers of each step's network.
        activation: of the networks.
        dropout: share of a network's units set to zero in training.
        kernel_initializer: of the networks; each kernel is drawn for itself.
        tower_units: hidden layers of a tower, or `{task: hidden layers}`.
        tower_activation: of the towers' hidden layers.
        tower_dropout: share of a tower's hidden units set to zero in training.
        tower_batch_norm: normalise after the activation of each of a tower's hidden layers.
        base_rates: `{task: share of positives}` over all rows, where the towers start, as in `ESMMHead`; None takes what
            the schema has learned (`adapt`).
        interactions: Keras layers over the fields, set beside them, as in `SharedBottomRepresentation`.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, at every step as a whole.
        name: of the model.

    Raises:
        ValueError: a feature that was never adapted, one with the name of a stage, or what `ESMMHead` and `SingleTask`
            refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import esmm
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = esmm(schema, ["click", "buy"])
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Ma et al., "Entire Space Multi-Task Model", SIGIR 2018, arXiv:1804.07931.
    """
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    head = ESMMHead(
        schema.tasks,
        schema.task_names if chain is None else chain,
        units=tower_units,
        activation=tower_activation,
        dropout=tower_dropout,
        batch_norm=tower_batch_norm,
        base_rates=base_rates,
    )
    return build(
        schema,
        bottom,
        SingleTask(units, activation=activation, dropout=dropout, kernel_initializer=kernel_initializer),
        head,
        name=name,
    )

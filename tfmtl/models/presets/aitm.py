"""Adaptive information transfer."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.chain_calibrator import Reduction
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import AITMHead, SharedBottomRepresentation, SingleTask


def aitm(
    schema: Schema,
    chain: Sequence[str] | None = None,
    *,
    units: Sequence[int] = (256, 128),
    activation: Any = "relu",
    dropout: float = 0.0,
    kernel_initializer: Any = "glorot_uniform",
    tower_units: Sequence[int] = (64,),
    output_units: Sequence[int] = (),
    tower_activation: Any = "relu",
    tower_dropout: float = 0.0,
    calibrator: float = 0.6,
    calibrator_reduction: Reduction = "mean",
    transfer_activation: Any = "relu",
    attention_bias: bool = False,
    share_attention: bool = True,
    base_rates: Mapping[str, float] | None = None,
    interactions: Sequence[Any] = (),
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    name: str = "aitm",
) -> keras.Model:
    """Builds adaptive information transfer (AITM): every step of a chain draws on the step before.

    `with_conditionals` adds how likely a step is where an earlier one happened (pCVR).

    Args:
        schema: adapted.
        chain: names of the steps, the first one first; None takes the tasks as declared.
        units: layers of each step's network.
        activation: of the networks.
        dropout: share of a network's units set to zero in training.
        kernel_initializer: of the networks; each kernel is drawn for itself.
        tower_units: hidden layers of each task before the transfer.
        output_units: hidden layers of each task after it.
        tower_activation: of the towers' hidden layers.
        tower_dropout: share of these layers' units, and of what is handed on, set to zero in training.
        calibrator: weight of the punishment of predictions that grow along the chain; 0 switches it off.
        calibrator_reduction: its `"mean"` over the rows or its `"sum"`.
        transfer_activation: of what a step hands on; None leaves it linear.
        attention_bias: as in `InformationTransfer`.
        share_attention: as in `InformationTransfer`.
        base_rates: `{task: mean of its labels}`, where the towers start; None takes what the schema has learned (`adapt`).
        interactions: Keras layers over the fields, set beside them, as in `SharedBottomRepresentation`.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, at every step as a whole.
        name: of the model.

    Raises:
        ValueError: a feature that was never adapted, one with the name of a stage, or what `AITMHead` and `SingleTask`
            refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import aitm
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = aitm(schema, ["click", "buy"])
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Xi et al., "Modeling the Sequential Dependence among Audience Multi-step Conversions" (AITM), KDD 2021,
        arXiv:2105.08489.
    """
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    head = AITMHead(
        schema.tasks,
        schema.task_names if chain is None else chain,
        units=tower_units,
        output_units=output_units,
        calibrator=calibrator,
        calibrator_reduction=calibrator_reduction,
        transfer_activation=transfer_activation,
        activation=tower_activation,
        dropout=tower_dropout,
        attention_bias=attention_bias,
        share_attention=share_attention,
        base_rates=base_rates,
    )
    return build(
        schema,
        bottom,
        SingleTask(units, activation=activation, dropout=dropout, kernel_initializer=kernel_initializer),
        head,
        name=name,
    )

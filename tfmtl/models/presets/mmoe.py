"""Multi-gate mixture-of-experts."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.cgc_layer import GateInput
from tfmtl.models.build import build
from tfmtl.models.presets.sizes import experts_of_a_level
from tfmtl.schema import Schema
from tfmtl.stages import MMoE, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units


def mmoe(
    schema: Schema,
    *,
    units: int | Sequence[int] = 256,
    num_experts: int | None = None,
    gate_units: Sequence[int] = (),
    gate_input: GateInput = "task",
    gate_use_bias: bool = False,
    activation: Any = "relu",
    dropout: float = 0.0,
    kernel_initializer: Any = "glorot_uniform",
    tower_units: Units = (128, 64),
    tower_activation: Any = "relu",
    tower_dropout: float = 0.0,
    tower_batch_norm: bool = False,
    base_rates: Mapping[str, float] | None = None,
    interactions: Sequence[Any] = (),
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    name: str = "mmoe",
) -> keras.Model:
    """Builds a multi-gate mixture-of-experts (MMoE): shared experts, mixed by a gate for each task.

    Args:
        schema: adapted.
        units: width of an expert, or the widths of its layers.
        num_experts: experts; None takes as many as `cgc` and each level of `ple` have by default, 2 for each task and 2
            more.
        gate_units: hidden layers of the gates; the paper has none.
        gate_input: what task t's gate reads: `"task"` (x_t), `"sum"` (x_t + x_shared) or `"concat"` of the two.
        gate_use_bias: whether gates have a bias; the papers' formula has none, Tencent's code has one.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert is drawn for itself.
        tower_units: hidden layers of a tower, or `{task: hidden layers}`.
        tower_activation: of the towers' hidden layers.
        tower_dropout: share of a tower's hidden units set to zero in training.
        tower_batch_norm: normalise after the activation of each of a tower's hidden layers.
        base_rates: `{task: mean of its labels}`, where the towers start; None takes what the schema has learned (`adapt`).
        interactions: Keras layers over the fields, set beside them, as in `SharedBottomRepresentation`.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, at every step as a whole.
        name: of the model.

    Raises:
        ValueError: a feature that was never adapted, one with the name of a stage, or what `MMoE` and `Towers` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import mmoe
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = mmoe(schema, units=32, num_experts=4)
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018.
    """
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    head = Towers(
        schema.tasks,
        units=tower_units,
        activation=tower_activation,
        dropout=tower_dropout,
        batch_norm=tower_batch_norm,
        base_rates=base_rates,
    )
    return build(
        schema,
        bottom,
        MMoE(
            units,
            num_experts=experts_of_a_level(schema, num_experts),
            gate_units=gate_units,
            gate_input=gate_input,
            gate_use_bias=gate_use_bias,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
        ),
        head,
        name=name,
    )

"""Customized gate control."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.cgc_layer import CrossTask, GateInput
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import CGC, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units


def cgc(
    schema: Schema,
    *,
    units: int | Sequence[int] = 256,
    num_task_experts: int = 2,
    num_shared_experts: int = 2,
    gate_units: Sequence[int] = (),
    gate_input: GateInput = "task",
    gate_use_bias: bool = False,
    cross_task: CrossTask = "none",
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
    name: str = "cgc",
) -> keras.Model:
    """Builds customized gate control (CGC): task-specific and shared experts, mixed by a gate for each task.

    Args:
        schema: adapted.
        units: width of an expert, or the widths of its layers.
        num_task_experts: experts that each task owns.
        num_shared_experts: experts that belong to no task.
        gate_units: hidden layers of the gates; the paper has none.
        gate_input: what task t's gate reads: `"task"` (x_t), `"sum"` (x_t + x_shared) or `"concat"` of the two.
        gate_use_bias: whether gates have a bias; the papers' formula has none, Tencent's code has one.
        cross_task: whether a task also reads other tasks' experts: `"none"`, `"detached"` (forward only: its loss does
            not reach them) or `"full"`.
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
        ValueError: a feature that was never adapted, one with the name of a stage, or what `CGC` and `Towers` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import cgc
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = cgc(schema, units=32, num_task_experts=1)
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 4.1.
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
        CGC(
            units,
            num_task_experts=num_task_experts,
            num_shared_experts=num_shared_experts,
            gate_units=gate_units,
            gate_input=gate_input,
            gate_use_bias=gate_use_bias,
            cross_task=cross_task,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
        ),
        head,
        name=name,
    )

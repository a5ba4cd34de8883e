"""MMoE over several embeddings."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.cgc_layer import CrossTask, GateInput
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import PLE, STEMRepresentation, Towers
from tfmtl.stages.heads import Units


def me_mmoe(
    schema: Schema,
    *,
    units: int | Sequence[int] = (512, 512, 512),
    num_layers: int = 1,
    num_task_experts: int = 2,
    num_shared_experts: int = 2,
    gate_units: Sequence[int] = (128, 64),
    gate_input: GateInput = "sum",
    gate_use_bias: bool = False,
    cross_task: CrossTask = "full",
    shared_stream_stop_specific: bool = False,
    activation: Any = "relu",
    dropout: float = 0.0,
    kernel_initializer: Any = "glorot_uniform",
    tower_units: Units = (128, 64),
    tower_activation: Any = "relu",
    tower_dropout: float = 0.0,
    tower_batch_norm: bool = False,
    base_rates: Mapping[str, float] | None = None,
    interactions: Sequence[Any] = (),
    embeddings_initializer: Any = None,
    embeddings_regularizer: Any = None,
    name: str = "me_mmoe",
) -> keras.Model:
    """Builds MMoE over several embeddings: as many experts read each table, every task mixes all of them.

    The paper names it ME-MMoE and publishes no design; here gates read the sum of the task's and the shared stream, and
    gradients pass everywhere.

    Args:
        schema: adapted.
        units: width of an expert, or the widths of its layers.
        num_layers: levels of experts and gates; the authors use 1.
        num_task_experts: experts that each task owns.
        num_shared_experts: experts that belong to no task.
        gate_units: hidden layers of the gates; those of PLE and MMoE have none.
        gate_input: what task t's gate reads: `"task"` (x_t), `"sum"` (x_t + x_shared) or `"concat"` of the two.
        gate_use_bias: whether gates have a bias; the papers' formula has none, Tencent's code has one.
        cross_task: whether a task also reads other tasks' experts: `"none"`, `"detached"` (forward only: its loss does
            not reach them) or `"full"`.
        shared_stream_stop_specific: stop the gradient from the shared stream to task experts.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert is drawn for itself.
        tower_units: hidden layers of a tower, or `{task: hidden layers}`.
        tower_activation: of the towers' hidden layers.
        tower_dropout: share of a tower's hidden units set to zero in training.
        tower_batch_norm: normalise after the activation of each of a tower's hidden layers.
        base_rates: `{task: mean of its labels}`, where the towers start; None takes what the schema has learned (`adapt`).
        interactions: Keras layers over the fields, set beside them, as in `STEMRepresentation`.
        embeddings_initializer: of the tables; None is the authors' N(0, 1e-4).
        embeddings_regularizer: of the tables, at every step as a whole; the authors use `keras.regularizers.L2(5e-7)`.
        name: of the model.

    Raises:
        ValueError: a feature that was never adapted, one with the name of a stage, or what `STEMRepresentation`, `PLE`
            and `Towers` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import me_mmoe
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = me_mmoe(schema, units=(32,), num_shared_experts=2, gate_units=())
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        The ablation of Su et al., "STEM", AAAI 2024, arXiv:2308.13537.
    """
    bottom = STEMRepresentation(
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
        PLE(
            [units] * num_layers,
            num_task_experts=num_task_experts,
            num_shared_experts=num_shared_experts,
            gate_units=gate_units,
            gate_input=gate_input,
            gate_use_bias=gate_use_bias,
            cross_task=cross_task,
            shared_stream_stop_specific=shared_stream_stop_specific,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
        ),
        head,
        name=name,
    )

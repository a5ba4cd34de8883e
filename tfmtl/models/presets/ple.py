"""Progressive layered extraction."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.cgc_layer import CrossTask, GateInput
from tfmtl.models.build import build
from tfmtl.models.presets.sizes import PLE_DEPTHS
from tfmtl.schema import Schema
from tfmtl.stages import PLE, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units


def ple(
    schema: Schema,
    *,
    depth: str = "paper_depth_matched",
    units: Sequence[int | Sequence[int]] | None = None,
    num_task_experts: int = 2,
    num_shared_experts: int = 2,
    gate_units: Sequence[int] = (),
    gate_input: GateInput = "task",
    gate_use_bias: bool = False,
    cross_task: CrossTask = "none",
    shared_stream_stop_specific: bool = False,
    activation: Any = "relu",
    dropout: float = 0.0,
    kernel_initializer: Any = "glorot_uniform",
    tower_units: Units | None = None,
    tower_activation: Any = "relu",
    tower_dropout: float = 0.0,
    tower_batch_norm: bool = False,
    base_rates: Mapping[str, float] | None = None,
    interactions: Sequence[Any] = (),
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    name: str = "ple",
) -> keras.Model:
    """Builds progressive layered extraction (PLE): levels of task-specific and shared experts under gates.

    Args:
        schema: adapted.
        depth: a reading of the paper's sizes, a key of `PLE_DEPTHS`.
        units: one entry a level, the width of its experts or the widths of their layers; None takes the reading's.
        num_task_experts: experts that each task owns, of every level.
        num_shared_experts: experts that belong to no task, of every level.
        gate_units: hidden layers of the gates; the paper has none.
        gate_input: what task t's gate reads: `"task"` (x_t), `"sum"` (x_t + x_shared) or `"concat"` of the two.
        gate_use_bias: whether gates have a bias; the papers' formula has none, Tencent's code has one.
        cross_task: whether a task also reads other tasks' experts: `"none"`, `"detached"` (forward only: its loss does
            not reach them) or `"full"`.
        shared_stream_stop_specific: stop the gradient from the shared stream to task experts.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert is drawn for itself.
        tower_units: hidden layers of a tower, or `{task: hidden layers}`; None takes the reading's.
        tower_activation: of the towers' hidden layers.
        tower_dropout: share of a tower's hidden units set to zero in training.
        tower_batch_norm: normalise after the activation of each of a tower's hidden layers.
        base_rates: `{task: mean of its labels}`, where the towers start; None takes what the schema has learned (`adapt`).
        interactions: Keras layers over the fields, set beside them, as in `SharedBottomRepresentation`.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, at every step as a whole.
        name: of the model.

    Raises:
        ValueError: an unknown reading, a feature that was never adapted, one with the name of a stage, or what `PLE`
            and `Towers` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import ple
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = ple(schema, units=(64, 32), num_task_experts=1, tower_dropout=0.1)
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 4.2; the sizes are those of its
        section 5.1.3.
    """
    if depth not in PLE_DEPTHS:
        raise ValueError(f"`depth` must be one of {sorted(PLE_DEPTHS)}. Received: depth={depth!r}")
    levels, tower = PLE_DEPTHS[depth]
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    head = Towers(
        schema.tasks,
        units=tower if tower_units is None else tower_units,
        activation=tower_activation,
        dropout=tower_dropout,
        batch_norm=tower_batch_norm,
        base_rates=base_rates,
    )
    return build(
        schema,
        bottom,
        PLE(
            levels if units is None else units,
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

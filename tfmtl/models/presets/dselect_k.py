"""A mixture of experts whose gates choose a few."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.cgc_layer import GateInput
from tfmtl.models.build import build
from tfmtl.models.presets.sizes import experts_of_a_level
from tfmtl.schema import Schema
from tfmtl.stages import DSelectK, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units


def dselect_k(
    schema: Schema,
    *,
    units: int | Sequence[int] = 256,
    num_experts: int | None = None,
    num_selected: int = 2,
    gamma: float = 1.0,
    entropy: float = 1e-6,
    per_row: bool = True,
    gate_input: GateInput = "task",
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
    name: str = "dselect_k",
) -> keras.Model:
    """Builds a mixture of experts with the gates of DSelect-k: a few experts for each task and row.

    Args:
        schema: adapted.
        units: width of an expert, or the widths of its layers.
        num_experts: experts; None takes the least power of two that is no less than what `mmoe` has, 2 for each task and 2
            more: gates over a power of two need no penalty.
        num_selected: how many of them a gate mixes at most.
        gamma: width of the slope of the gates' smooth step.
        entropy: factor of the penalty that draws gates to a choice.
        per_row: whether gates choose for each row; otherwise a task has one choice for all rows.
        gate_input: what task t's gate reads: `"task"` (x_t), `"sum"` (x_t + x_shared) or `"concat"` of the two.
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
        ValueError: a feature that was never adapted, one with the name of a stage, or what `DSelectK` and `Towers` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import dselect_k
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = dselect_k(schema, units=32, num_experts=4)
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Hazimeh et al., "DSelect-k: Differentiable Selection in the Mixture of Experts with Applications to Multi-Task
        Learning", NeurIPS 2021, arXiv:2106.03760.
    """
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    trunk = DSelectK(
        units,
        num_experts=_power_of_two(experts_of_a_level(schema, None)) if num_experts is None else num_experts,
        num_selected=num_selected,
        gamma=gamma,
        entropy=entropy,
        per_row=per_row,
        gate_input=gate_input,
        activation=activation,
        dropout=dropout,
        kernel_initializer=kernel_initializer,
    )
    head = Towers(
        schema.tasks,
        units=tower_units,
        activation=tower_activation,
        dropout=tower_dropout,
        batch_norm=tower_batch_norm,
        base_rates=base_rates,
    )
    return build(schema, bottom, trunk, head, name=name)


def _power_of_two(least: int) -> int:
    """The least one that is no less."""
    return 1 << (least - 1).bit_length()

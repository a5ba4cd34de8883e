"""Adaptive task-to-task fusion."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import AdaTT, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units


def adatt(
    schema: Schema,
    *,
    units: Sequence[int | Sequence[int]] = (256, 128),
    num_task_experts: int = 2,
    num_shared_experts: int = 1,
    gate_units: Sequence[int] = (),
    gate_use_bias: bool = False,
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
    name: str = "adatt",
) -> keras.Model:
    """Builds adaptive task-to-task fusion (AdaTT): every task reads the experts of all, and its own once more.

    Args:
        schema: adapted.
        units: one entry a level, the width of its experts or the widths of their layers.
        num_task_experts: experts that each task owns, of every level.
        num_shared_experts: experts that belong to no task, of every level; 0 is the paper's AdaTT-sp.
        gate_units: hidden layers of the gates; the paper has none.
        gate_use_bias: whether gates have a bias; the paper's formula has none, the authors' code has one.
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
        ValueError: a feature that was never adapted, one with the name of a stage, or what `AdaTT` and `Towers` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import adatt
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = adatt(schema, units=(64, 32))
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Li et al., "AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in Recommendations", KDD 2023,
        arXiv:2304.04959. The sizes are PLE's, which every model here starts from.
    """
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    trunk = AdaTT(
        units,
        num_task_experts=num_task_experts,
        num_shared_experts=num_shared_experts,
        gate_units=gate_units,
        gate_use_bias=gate_use_bias,
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

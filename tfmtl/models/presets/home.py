"""A hierarchy of gated experts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import HoME, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units


def home(
    schema: Schema,
    *,
    units: Sequence[int] = (256, 128),
    groups: Mapping[str, Iterable[str]] | None = None,
    num_shared_experts: int = 2,
    num_group_experts: int = 2,
    num_task_experts: int = 1,
    num_feature_gates: int = 2,
    self_gates: bool = True,
    activation: Any = "swish",
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
    name: str = "home",
) -> keras.Model:
    """Builds a hierarchy of multi-gate experts (HoME): for all tasks, for groups of them, for each.

    Args:
        schema: adapted.
        units: width of the experts of either level.
        groups: `{name: its tasks}`; every task belongs to one. None puts all tasks into one group.
        num_shared_experts: experts of all tasks, on either level.
        num_group_experts: experts of each group, on either level.
        num_task_experts: experts of each task, on the second level.
        num_feature_gates: pairs of matrices of a feature gate; 0 leaves feature gates out.
        self_gates: whether mixtures have self gates.
        activation: of the experts, after their normalisation.
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
        ValueError: a feature that was never adapted, one with the name of a stage, or what `HoME` and `Towers` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import home
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = home(schema, groups={"look": ["click"], "act": ["buy"]}, units=(64, 32))
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Wang et al., "HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou", 2024, arXiv:2408.05430.
    """
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    trunk = HoME(
        units,
        groups=groups,
        num_shared_experts=num_shared_experts,
        num_group_experts=num_group_experts,
        num_task_experts=num_task_experts,
        num_feature_gates=num_feature_gates,
        self_gates=self_gates,
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

"""Multi-gate mixture-of-experts of several levels."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.models.presets.sizes import experts_of_a_level
from tfmtl.schema import Schema
from tfmtl.stages import MLMMoE, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units


def ml_mmoe(
    schema: Schema,
    *,
    units: Sequence[int] = (256, 128),
    num_experts: int | None = None,
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
    name: str = "ml_mmoe",
) -> keras.Model:
    """Builds an MMoE of several levels (ML-MMoE), whose gates between the levels read the raw input.

    Args:
        schema: adapted.
        units: width of the experts of each level.
        num_experts: experts of each level; None takes as many as `cgc` and each level of `ple` have by default, 2 for
            each task and 2 more.
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
        ValueError: a feature that was never adapted, one with the name of a stage, or what `MLMMoE` and `Towers`
            refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import ml_mmoe
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = ml_mmoe(schema, units=(32, 16), num_experts=4)
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 5.1.2.
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
        MLMMoE(
            units,
            num_experts=experts_of_a_level(schema, num_experts),
            gate_use_bias=gate_use_bias,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
        ),
        head,
        name=name,
    )

"""Entire-space counterfactual multi-task model."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.losses.counterfactual_risk import Imputation
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import ESCM2Head, SharedBottomRepresentation, SingleTask
from tfmtl.stages.heads import Units
from tfmtl.stages.heads.escm2_head import Estimator


def escm2(
    schema: Schema,
    chain: Sequence[str] | None = None,
    *,
    estimator: Estimator = "dr",
    counterfactual_weight: float = 0.5,
    min_propensity: float = 0.01,
    imputation: Imputation = "label",
    imputation_units: Sequence[int] = (64,),
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
    name: str = "escm2",
) -> keras.Model:
    """Builds an entire-space counterfactual model (ESCM2): ESMM whose conversion rates are also trained against selection.

    `with_conditionals` adds how likely a step is where an earlier one happened (pCVR).

    Args:
        schema: adapted.
        chain: names of the steps, the first one first; None takes the tasks as declared.
        estimator: `"ipw"`, inverse propensities, or `"dr"`, doubly robust with an imputation tower.
        counterfactual_weight: of the risk that the estimator gives beside the losses of the tasks.
        min_propensity: what a propensity is at least: no row weighs more than its inverse.
        imputation: what the imputation tower says: the `"label"` that a row would have had, or its `"error"`.
        imputation_units: hidden layers of the imputation towers.
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
        ValueError: a feature that was never adapted, one with the name of a stage, or what `ESCM2Head` and `SingleTask`
            refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import escm2
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = escm2(schema, ["click", "buy"], estimator="ipw")
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Wang et al., "ESCM2: Entire Space Counterfactual Multi-Task Model for Post-Click Conversion Rate Estimation", SIGIR
        2022, arXiv:2204.05125. See `ESCM2Head`.
    """
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    head = ESCM2Head(
        schema.tasks,
        schema.task_names if chain is None else chain,
        estimator=estimator,
        counterfactual_weight=counterfactual_weight,
        min_propensity=min_propensity,
        imputation=imputation,
        imputation_units=imputation_units,
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

"""Star topology adaptive recommender."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import PassThrough, SharedBottomRepresentation, STARHead
from tfmtl.stages.heads import Units


def star(
    schema: Schema,
    scenario: str,
    *,
    tower_units: Units = (256, 128, 64),
    auxiliary_units: Sequence[int] = (32,),
    scenario_dim: int = 16,
    normalize: bool = True,
    tower_activation: Any = "relu",
    tower_dropout: float = 0.0,
    base_rates: Mapping[str, float] | None = None,
    interactions: Sequence[Any] = (),
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    name: str = "star",
) -> keras.Model:
    """Builds the star topology adaptive recommender (STAR): towers whose weights are a shared part times the scenario's.

    Args:
        schema: adapted.
        scenario: name of the `Categorical` feature whose ids tell scenarios apart.
        tower_units: hidden layers of a tower, or `{task: hidden layers}`.
        auxiliary_units: hidden layers of the auxiliary network; `()` leaves it out.
        scenario_dim: width of a scenario's vector in the auxiliary network.
        normalize: whether towers normalise what they read by scenario.
        tower_activation: of the hidden layers.
        tower_dropout: share of hidden units set to zero in training.
        base_rates: `{task: mean of its labels}`, where the towers start; None takes what the schema has learned (`adapt`).
        interactions: Keras layers over the fields, set beside them, as in `SharedBottomRepresentation`.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, at every step as a whole.
        name: of the model.

    Raises:
        ValueError: a scenario that is no `Categorical` feature, a feature that was never adapted, one with the name of a
            stage, or what `STARHead` refuses.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import star
    >>> features = [Categorical("item", num_ids=100), Categorical("tab", num_ids=3)]
    >>> model = star(Schema(features, [Task("click"), Task("buy")]), "tab")
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Sheng et al., "One Model to Serve All: Star Topology Adaptive Recommender for Multi-Domain CTR Prediction" (STAR),
        CIKM 2021, arXiv:2101.11427. Towers have the sizes of PLE's single-task models.
    """
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        scenario=scenario,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    head = STARHead(
        schema.tasks,
        units=tower_units,
        auxiliary_units=auxiliary_units,
        scenario_dim=scenario_dim,
        normalize=normalize,
        activation=tower_activation,
        dropout=tower_dropout,
        base_rates=base_rates,
    )
    return build(schema, bottom, PassThrough(), head, name=name)

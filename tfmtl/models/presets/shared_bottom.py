"""Hard parameter sharing."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import SharedBottom, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units


def shared_bottom(
    schema: Schema,
    *,
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
    name: str = "shared_bottom",
) -> keras.Model:
    """Builds a shared-bottom model (hard parameter sharing): one network for all tasks, then a tower for each.

    Args:
        schema: adapted.
        units: layers of the network.
        activation: of the network.
        dropout: share of its units set to zero in training.
        kernel_initializer: of the network; each kernel is drawn for itself.
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
        ValueError: a feature that was never adapted, one with the name of a stage, or what `SharedBottom` and `Towers`
            refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import shared_bottom
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = shared_bottom(schema, units=(64, 32))
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Caruana, "Multitask Learning", Machine Learning 28, 1997.
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
        SharedBottom(units, activation=activation, dropout=dropout, kernel_initializer=kernel_initializer),
        head,
        name=name,
    )

"""Cross-stitch networks."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import CrossStitch, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units
from tfmtl.stages.trunks.cross_stitch import Granularity
from tfmtl.stages.trunks.stitched_towers import TowerInputs


def cross_stitch(
    schema: Schema,
    *,
    units: Sequence[int] = (256, 128),
    granularity: Granularity = "scalar",
    self_weight: float = 0.9,
    inputs: TowerInputs = "own",
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
    name: str = "cross_stitch",
) -> keras.Model:
    """Builds a cross-stitch network: a network for every task, mixed with all others after every layer.

    Args:
        schema: adapted.
        units: layers of a network.
        granularity: `"scalar"`, one weight for a pair of towers, or `"channel"`, one for each of a layer's units too.
        self_weight: where a tower's weight for itself starts; the others share the rest.
        inputs: what a tower reads: `"own"`, its task's stream, or `"own+shared"`, the shared stream beside it.
        activation: of every layer, before the stitch.
        dropout: share of a layer's units set to zero in training, before the stitch.
        kernel_initializer: of every kernel; each is drawn for itself.
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
        ValueError: a feature that was never adapted, one with the name of a stage, or what `CrossStitch` and `Towers`
            refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import cross_stitch
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = cross_stitch(schema, units=(64, 32))
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Misra et al., "Cross-stitch Networks for Multi-task Learning", CVPR 2016, arXiv:1604.03539.
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
        CrossStitch(
            units,
            granularity=granularity,
            self_weight=self_weight,
            inputs=inputs,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
        ),
        head,
        name=name,
    )

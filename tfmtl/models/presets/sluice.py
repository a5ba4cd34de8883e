"""Sluice networks."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import SharedBottomRepresentation, Sluice, Towers
from tfmtl.stages.heads import Units
from tfmtl.stages.trunks.stitched_towers import TowerInputs


def sluice(
    schema: Schema,
    *,
    units: Sequence[int] = (256, 256),
    num_subspaces: int = 2,
    orthogonality: float = 1e-4,
    mix_layers: bool = True,
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
    name: str = "sluice",
) -> keras.Model:
    """Builds a sluice network: cross-stitch over parts of layers, with learned mixtures of layers.

    Its layers are mixed, so by default they have one width.

    Args:
        schema: adapted.
        units: width of each layer.
        num_subspaces: parts of a layer; must divide every width.
        orthogonality: factor of the penalty that keeps the parts apart; 0 switches it off.
        mix_layers: whether a task's output mixes all layers; False takes the last.
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
        ValueError: a feature that was never adapted, one with the name of a stage, or what `Sluice` and `Towers`
            refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import sluice
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = sluice(schema, units=(64, 64))
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Ruder et al., "Latent Multi-Task Architecture Learning", AAAI 2019, arXiv:1705.08142.
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
        Sluice(
            units,
            num_subspaces=num_subspaces,
            orthogonality=orthogonality,
            mix_layers=mix_layers,
            self_weight=self_weight,
            inputs=inputs,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
        ),
        head,
        name=name,
    )

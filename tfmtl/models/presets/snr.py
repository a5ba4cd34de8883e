"""Sub-network routing."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.subnetwork_routing import Connection
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import SNR, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units


def snr(
    schema: Schema,
    *,
    units: Sequence[int] = (256, 128),
    num_subnetworks: int = 4,
    connection: Connection = "transform",
    sparsity: float = 1e-4,
    temperature: float = 2 / 3,
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
    name: str = "snr",
) -> keras.Model:
    """Builds sub-network routing (SNR): levels of small networks and connections between them that can close.

    Args:
        schema: adapted.
        units: width of the sub-networks of each level.
        num_subnetworks: how many a level has.
        connection: `"transform"` (SNR-Trans), a matrix for each connection, or `"average"` (SNR-Aver), a weight alone.
        sparsity: factor of the expected number of open connections, of every level; 0 leaves it out.
        temperature: of the distribution that connections are drawn from.
        activation: of the sub-networks.
        dropout: share of a sub-network's units set to zero in training.
        kernel_initializer: of the sub-networks; each is drawn for itself.
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
        ValueError: a feature that was never adapted, one with the name of a stage, or what `SNR` and `Towers` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import snr
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> model = snr(schema, units=(64, 32), num_subnetworks=3)
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Ma et al., "SNR: Sub-Network Routing for Flexible Parameter Sharing in Multi-Task Learning", AAAI 2019.
    """
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    trunk = SNR(
        units,
        num_subnetworks=num_subnetworks,
        connection=connection,
        sparsity=sparsity,
        temperature=temperature,
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

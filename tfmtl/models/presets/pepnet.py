"""Parameter and embedding personalised network."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import PassThrough, PPNet, SharedBottomRepresentation, Towers
from tfmtl.stages.heads import Units
from tfmtl.stages.stage import Head


def pepnet(
    schema: Schema,
    domain: Iterable[str] = (),
    priors: Iterable[str] = (),
    *,
    tower_units: Units = (256, 128, 64),
    domain_units: int | None = None,
    gate_units: int | None = None,
    tower_activation: Any = "relu",
    tower_dropout: float = 0.0,
    base_rates: Mapping[str, float] | None = None,
    interactions: Sequence[Any] = (),
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    name: str = "pepnet",
) -> keras.Model:
    """Builds the parameter and embedding personalised network (PEPNet): embeddings and towers under gates.

    With `domain` alone it is EPNet under plain towers, with `priors` alone PPNet.

    Args:
        schema: adapted.
        domain: names of the features that tell domains apart; a gate that reads them scales all embeddings (`EPNet`).
        priors: names of the features of user, item and author whose embeddings steer the towers (`PPNet`).
        tower_units: hidden layers of a tower, or `{task: hidden layers}`.
        domain_units: width of the hidden layer of the gate over embeddings; None takes that of all fields.
        gate_units: width of the hidden layers of the towers' gates; None takes that of the layer which a gate scales.
        tower_activation: of the towers' hidden layers.
        tower_dropout: share of a tower's hidden units set to zero in training.
        base_rates: `{task: mean of its labels}`, where the towers start; None takes what the schema has learned (`adapt`).
        interactions: Keras layers over the fields, set beside them, as in `SharedBottomRepresentation`.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, at every step as a whole.
        name: of the model.

    Raises:
        ValueError: neither `domain` nor `priors`, a feature that was never adapted, one with the name of a stage, or what
            `SharedBottomRepresentation` and `PPNet` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import pepnet
    >>> features = [Categorical(name, num_ids=100) for name in ("user", "item", "author", "tab")]
    >>> model = pepnet(Schema(features, [Task("click"), Task("buy")]), ["tab"], ["user", "item", "author"])
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Chang et al., "PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior
        Information", KDD 2023, arXiv:2302.01115. Towers have the sizes of PLE's single-task models.
    """
    domain, priors = tuple(domain), tuple(priors)
    if not domain and not priors:
        raise ValueError("PEPNet needs `domain`, `priors` or both. Received: domain=(), priors=()")
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        domain=domain,
        domain_units=domain_units,
        priors=priors,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    options = {"units": tower_units, "activation": tower_activation, "dropout": tower_dropout, "base_rates": base_rates}
    head: Head = PPNet(schema.tasks, gate_units=gate_units, **options) if priors else Towers(schema.tasks, **options)
    return build(schema, bottom, PassThrough(), head, name=name)

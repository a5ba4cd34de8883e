"""Deep Bayesian multi-target learning."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import DBMTLHead, SharedBottom, SharedBottomRepresentation
from tfmtl.stages.heads.dbmtl_head import Parents


def dbmtl(
    schema: Schema,
    parents: Parents | None = None,
    *,
    units: Sequence[int] = (256, 128),
    activation: Any = "relu",
    dropout: float = 0.0,
    kernel_initializer: Any = "glorot_uniform",
    tower_units: Sequence[int] = (64,),
    relation_units: Sequence[int] = (32,),
    tower_activation: Any = "relu",
    tower_dropout: float = 0.0,
    tower_batch_norm: bool = False,
    base_rates: Mapping[str, float] | None = None,
    interactions: Sequence[Any] = (),
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    name: str = "dbmtl",
) -> keras.Model:
    """Builds a DBMTL model: one shared network, a network a task, and relations along a graph of the tasks.

    Args:
        schema: adapted.
        parents: `{task: the tasks that it depends on}`; None lets each task depend on all that are declared before it.
        units: layers of the shared network.
        activation: of the shared network.
        dropout: share of the shared network's units set to zero in training.
        kernel_initializer: of the shared network; each kernel is drawn for itself.
        tower_units: hidden layers of every task's own network.
        relation_units: hidden layers of every task's relation.
        tower_activation: of the tasks' networks and relations.
        tower_dropout: share of their hidden units set to zero in training.
        tower_batch_norm: normalise after the activation of each of their hidden layers.
        base_rates: `{task: mean of its labels}`, where the tasks start, as in `Towers`; None takes what the schema has
            learned (`adapt`).
        interactions: Keras layers over the fields, set beside them, as in `SharedBottomRepresentation`.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, at every step as a whole.
        name: of the model.

    Raises:
        ValueError: a feature that was never adapted, one with the name of a stage, or what `DBMTLHead` and `SharedBottom`
            refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import dbmtl
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("like"), Task("buy")])
    >>> model = dbmtl(schema, {"like": "click", "buy": "click"})
    >>> sorted(model.output)
    ['buy', 'click', 'like']

    Reference:
        Wang et al., "Deep Bayesian Multi-Target Learning for Recommender Systems" (DBMTL), 2019, arXiv:1902.09154. See
        `DBMTLHead`.
    """
    names = schema.task_names
    bottom = SharedBottomRepresentation(
        schema.features,
        names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    head = DBMTLHead(
        schema.tasks,
        {task: names[:place] for place, task in enumerate(names)} if parents is None else parents,
        units=tower_units,
        relation_units=relation_units,
        activation=tower_activation,
        dropout=tower_dropout,
        batch_norm=tower_batch_norm,
        base_rates=base_rates,
    )
    trunk = SharedBottom(units, activation=activation, dropout=dropout, kernel_initializer=kernel_initializer)
    return build(schema, bottom, trunk, head, name=name)

"""DTRN: a bottom of its own for every task."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.conditional_transformer import NormPosition
from tfmtl.layers.hyper_sequence_extractor import Pooling
from tfmtl.layers.norm_hypernetwork import Condition
from tfmtl.layers.task_senet import Excitation, Granularity, Squeeze
from tfmtl.models.build import build
from tfmtl.schema import Schema
from tfmtl.stages import DTRNRepresentation, SingleTask, Towers, Trunk
from tfmtl.stages.bottoms.dtrn_representation import SharedInput
from tfmtl.stages.heads import Units


def dtrn(
    schema: Schema,
    *,
    target: str | Sequence[str] | None = None,
    dim: int | None = None,
    shared_input: SharedInput = "mean",
    num_blocks: int = 1,
    num_heads: int = 2,
    ffn_units: int | None = None,
    norm_position: NormPosition = "post",
    attention_bias: bool = False,
    pooling: Pooling | None = None,
    condition_dim: int = 16,
    hyper_units: Sequence[int] = (64,),
    condition_on: Condition = "task+behavior",
    share_transformer_across_behaviors: bool = True,
    refine: bool = True,
    reduction: int = 3,
    squeeze: Squeeze = "none",
    granularity: Granularity = "field",
    excitation: Excitation = "sigmoid",
    share_senet_across_tasks: bool = False,
    trunk: Trunk | None = None,
    units: Sequence[int] = (256, 128),
    tower_units: Units = (64,),
    tower_activation: Any = "relu",
    tower_dropout: float = 0.0,
    tower_batch_norm: bool = False,
    base_rates: Mapping[str, float] | None = None,
    interactions: Sequence[Any] = (),
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    name: str = "dtrn",
) -> keras.Model:
    """Builds DTRN: each task reads the histories and weighs the fields in its own way.

    Args:
        schema: adapted, with a `Sequence` for each behaviour.
        target: the feature, or features, that describe the item to score; None pools the histories by their mean.
        dim: width of a field; None takes that of the first categorical feature.
        shared_input: what the shared stream is: `"mean"` over the tasks, or `"fixed"`, fields as they are.
        num_blocks: blocks of the transformer that reads the histories.
        num_heads: heads of its attention; must divide `dim`.
        ffn_units: hidden units of its feed-forward part; None is `4 dim`.
        norm_position: of its layer normalisations, `"post"` or `"pre"`.
        attention_bias: whether its attention's queries, values and output have a bias.
        pooling: of the events of a history, `"target"`, `"mean"` or `"last"`; None searches for the target where there
            is one, and takes the mean elsewhere.
        condition_dim: width of the hypernetwork's task and behaviour embeddings.
        hyper_units: hidden layers of the hypernetwork.
        condition_on: what the hypernetwork reads: `"task+behavior"`, `"task"`, `"behavior"` or `"none"`, one plain
            transformer for all tasks.
        share_transformer_across_behaviors: False gives each behaviour a transformer of its own.
        refine: False leaves `TaskSENet` out (the paper's ablation without TRM).
        reduction: fields per hidden unit of `TaskSENet`.
        squeeze: what it reads of a field: `"none"`, all of it, or `"mean"`.
        granularity: of its importances: `"field"`, or `"element"`, one for each of a field's entries.
        excitation: activation of the importances, `"sigmoid"` or `"2*sigmoid"`.
        share_senet_across_tasks: one `TaskSENet` for all tasks, an ablation.
        trunk: what lies on the bottom, by default a network for each task, the plain DTRN; the paper also puts MMoE and
            PLE there.
        units: layers of a task's network, where no trunk is given.
        tower_units: hidden layers of a tower, or `{task: hidden layers}`.
        tower_activation: of the towers' hidden layers.
        tower_dropout: share of a tower's hidden units set to zero in training.
        tower_batch_norm: normalise after the activation of each of a tower's hidden layers.
        base_rates: `{task: mean of its labels}`, where the towers start; None takes what the schema has learned (`adapt`).
        interactions: Keras layers over the fields, set beside them, as in `DTRNRepresentation`.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, at every step as a whole.
        name: of the model.

    Raises:
        ValueError: a feature that was never adapted, one with the name of a stage, or what `DTRNRepresentation`, the
            trunk and `Towers` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Sequence, Task
    >>> from tfmtl.models import dtrn
    >>> item = Categorical("item", num_ids=1000, dim=8, table="item")
    >>> schema = Schema([item, Sequence("seen", [item], length=20)], [Task("click"), Task("buy")])
    >>> model = dtrn(schema, target="item", units=(64, 32))
    >>> sorted(model.output)
    ['buy', 'click']

    Reference:
        Liu et al., "Deep Task-specific Bottom Representation Network for Multi-Task Recommendation", CIKM 2023,
        arXiv:2308.05996; see `DTRNRepresentation` for what of it is ours.
    """
    bottom = DTRNRepresentation(
        schema.features,
        schema.task_names,
        target=target,
        dim=dim,
        shared_input=shared_input,
        num_blocks=num_blocks,
        num_heads=num_heads,
        ffn_units=ffn_units,
        norm_position=norm_position,
        attention_bias=attention_bias,
        pooling=pooling,
        condition_dim=condition_dim,
        hyper_units=hyper_units,
        condition_on=condition_on,
        share_transformer_across_behaviors=share_transformer_across_behaviors,
        refine=refine,
        reduction=reduction,
        squeeze=squeeze,
        granularity=granularity,
        excitation=excitation,
        share_senet_across_tasks=share_senet_across_tasks,
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
    return build(schema, bottom, SingleTask(units) if trunk is None else trunk, head, name=name)

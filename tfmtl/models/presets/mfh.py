"""MFH as its authors tuned it, for any grid of behaviours and groups."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema import Schema, TaskGrid
from tfmtl.stages import CGC, PLE, HierarchicalTaskTree, SharedBottom, SharedBottomRepresentation, Towers
from tfmtl.stages.trunks.hierarchical_task_tree import Merge
from tfmtl.stages.trunks.tree_plan import TreeMode


def mfh(
    schema: Schema,
    grid: TaskGrid,
    *,
    root_units: Sequence[int] = (512,),
    facet_units: Sequence[int] = (256, 128),
    leaf_units: int | Sequence[int] = 128,
    gate_use_bias: bool = False,
    merge: Merge = "add",
    trees: Sequence[str] | None = None,
    tree_mode: TreeMode = "facet_then_rest",
    tower_units: Sequence[int] | Mapping[str, Sequence[int]] = (128, 64),
    tower_activation: Any = "relu",
    tower_dropout: float = 0.0,
    tower_batch_norm: bool = False,
    base_rates: Mapping[str, float] | None = None,
    interactions: Sequence[Any] = (),
    embeddings_initializer: Any = "uniform",
    embeddings_regularizer: Any = None,
    name: str = "mfh",
) -> keras.Model:
    """Builds MFH: a tree of switchers for every facet of the tasks, such as behaviour and user group.

    The sizes are those of the authors' tuned model for nine tasks (their supplement, figure 11): a shared bottom
    between the facets, PLE of two levels with 2 + 2 experts in each facet, CGC with 1 + 1 experts at the leaves. Flat
    PLE, what they compare with, is `ple(schema)`.

    Args:
        schema: adapted, with `grid.tasks` as its tasks.
        grid: behaviours and groups.
        root_units: layers of the shared bottom between the facets; `()` leaves it out, as the authors' published code
            does.
        facet_units: one entry a level of PLE.
        leaf_units: width of a leaf's expert, or the widths of its layers.
        gate_use_bias: whether the gates have a bias. The authors' have one, the papers' formula, our default everywhere
            (`CGCLayer`), has none: pass True for their model.
        merge: how a task's leaves become one stream: `"add"` (the authors' code) or `"concat"`.
        trees: the facets that start a tree, all by default; `("behavior",)` makes an H-MTL.
        tree_mode: with three facets or more, how a tree splits, as in `HierarchicalTaskTree`.
        tower_units: hidden layers of a tower, or `{group: hidden layers}`: the authors' towers shrink with the group's
            data. They give the shape for their most active group, (128, 64), only.
        tower_activation: of the towers' hidden layers.
        tower_dropout: share of a tower's hidden units set to zero in training.
        tower_batch_norm: normalise after the activation of each of a tower's hidden layers.
        base_rates: `{task: mean of its labels}`, where the towers start; None takes what the schema has learned (`adapt`).
        interactions: Keras layers over the fields, set beside them, as in `SharedBottomRepresentation`.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, at every step as a whole.
        name: of the model.

    Raises:
        ValueError: a schema that holds other tasks than the grid, a feature that was never adapted, one with the name
            of a stage, or what `HierarchicalTaskTree` and `Towers` refuse.

    Example:

    >>> from tfmtl import Categorical, Schema, Task, TaskGrid
    >>> from tfmtl.models import mfh
    >>> grid = TaskGrid([Task("finish"), Task("skip")], {"new": 0, "old": 1}, column="activity")
    >>> schema = Schema([Categorical("city", num_ids=100)], grid.tasks)
    >>> model = mfh(schema, grid, tower_units={"new": (32,), "old": (128, 64)})
    >>> sorted(model.output)
    ['finish_new', 'finish_old', 'skip_new', 'skip_old']

    Reference:
        Liu et al., "Multi-Faceted Hierarchical Multi-Task Learning for Recommender Systems", CIKM 2022,
        arXiv:2110.13365.
    """
    if set(schema.task_names) != {task.name for task in grid.tasks}:
        raise ValueError(
            f"`schema` must hold the grid's tasks: Schema(features, grid.tasks). Received: {schema.task_names}"
        )
    root = SharedBottom(root_units) if root_units else None
    facet = PLE(facet_units, num_task_experts=2, num_shared_experts=2, gate_use_bias=gate_use_bias)
    leaf = CGC(leaf_units, num_task_experts=1, num_shared_experts=1, gate_use_bias=gate_use_bias)
    bottom = SharedBottomRepresentation(
        schema.features,
        schema.task_names,
        interactions=interactions,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
    )
    head = Towers(
        schema.tasks,
        units=grid.by_group(tower_units) if isinstance(tower_units, Mapping) else tower_units,
        activation=tower_activation,
        dropout=tower_dropout,
        batch_norm=tower_batch_norm,
        base_rates=base_rates,
    )
    return build(
        schema,
        bottom,
        HierarchicalTaskTree(
            grid.facets, root=root, facet=facet, leaf=leaf, merge=merge, trees=trees, tree_mode=tree_mode
        ),
        head,
        name=name,
    )

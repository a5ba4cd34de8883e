"""MFH as its authors tuned it, for any grid of behaviours and groups."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.presets.assembling import over_shared_bottom
from tfmtl.schema.schema import Schema
from tfmtl.schema.task_grid import TaskGrid
from tfmtl.stages.trunks import CGC, SharedBottom
from tfmtl.stages.trunks.hierarchical_task_tree import HierarchicalTaskTree
from tfmtl.stages.trunks.ple import PLE


def mfh(
    schema: Schema,
    grid: TaskGrid,
    *,
    root_units: Sequence[int] = (512,),
    facet_units: Sequence[int] = (256, 128),
    leaf_units: int | Sequence[int] = 128,
    tower_units: Sequence[int] | Mapping[str, Sequence[int]] = (128, 64),
    gate_use_bias: bool = False,
    **options: Any,
) -> keras.Model:
    """Multi-faceted hierarchical multi-task learning. Liu et al., CIKM 2022, arXiv:2110.13365.

    The sizes are those of the authors' tuned model for nine tasks (their supplement, figure 11): a shared bottom between
    the facets, PLE of two levels with 2 + 2 experts in each facet, CGC with 1 + 1 experts at the leaves. Flat PLE, what
    they compare with, is `ple(schema)`.

    Args:
        schema: adapted, with `grid.tasks` as its tasks.
        grid: behaviours and groups.
        root_units: layers of the shared bottom between the facets; `()` leaves it out, as the authors' published code does.
        facet_units: one entry a level of PLE.
        leaf_units: width of a leaf's expert, or of its layers.
        tower_units: hidden layers of a tower, or `{group: hidden layers}`: the authors' towers shrink with the group's
            data. They give the shape for their most active group, (128, 64), only.
        gate_use_bias: whether the gates have a bias. The authors' have one, the papers' formula, our default everywhere
            (`CGCLayer`), has none: pass True for their model.
        **options: of `HierarchicalTaskTree`, such as `trees=("behavior",)` (H-MTL) and `merge`; `towers`,
            `embeddings_initializer` and `embeddings_regularizer` as in `ple`.

    Raises:
        ValueError: a schema that holds other tasks than the grid, or what the tree refuses.

    Example:

    ```python
    grid = TaskGrid([Task("finish"), Task("skip")], {"new": 0, "low": 1, "high": 2}, column="activity")
    schema = adapt(Schema(features, grid.tasks), train)
    model = mfh(schema, grid, tower_units={"new": (32,), "low": (64,), "high": (128, 64)})
    ```
    """
    if set(schema.task_names) != {task.name for task in grid.tasks}:
        raise ValueError(
            f"`schema` must hold the grid's tasks: Schema(features, grid.tasks). Received: {schema.task_names}"
        )
    return over_shared_bottom(
        schema,
        HierarchicalTaskTree,
        "mfh",
        facets=grid.facets,
        root=SharedBottom(root_units) if root_units else None,
        facet=PLE(facet_units, num_task_experts=2, num_shared_experts=2, gate_use_bias=gate_use_bias),
        leaf=CGC(leaf_units, num_task_experts=1, num_shared_experts=1, gate_use_bias=gate_use_bias),
        tower_units=grid.by_group(tower_units) if isinstance(tower_units, Mapping) else tower_units,
        **options,
    )

"""Which switchers a hierarchy of tasks has, and who reads whom: names only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias

from tfmtl.schema.names import check_distinct, check_name
from tfmtl.typing import SHARED

TreeMode: TypeAlias = Literal["facet_then_rest", "full_order"]
Facets: TypeAlias = Mapping[str, Sequence[str]]

ROOT = "root"
"""The node between the facets."""


@dataclass(frozen=True)
class TreeNode:
    """The place of one switcher.

    Args:
        name: of the node: `"root"`, a tree's facet (`"group"`), or that and the values chosen so far (`"group_new"`).
        level: 0 for the root, 1 for the split by a tree's facet, 2 and more below.
        reads: `(node, branch)`, the output that it reads; None reads the shared stream.
        branches: its own outputs, by name.
        is_last: whether the branches are the leaves, the tasks.
    """

    name: str
    level: int
    reads: tuple[str, str] | None
    branches: tuple[str, ...]
    is_last: bool


def leaf_tasks(facets: Facets) -> tuple[str, ...]:
    """The tasks: one for each combination of the facets' values, named by them in the order of the facets."""
    return tuple("_".join(values) for values in product(*facets.values()))


def plan_trees(facets: Facets, trees: Sequence[str], mode: TreeMode, *, has_root: bool) -> tuple[TreeNode, ...]:
    """The nodes of all `trees`, each after its parent."""
    nodes = [TreeNode(ROOT, 0, None, tuple(trees), is_last=False)] if has_root else []
    for facet in trees:
        rest = tuple(name for name in facets if name != facet)
        below = [(name,) for name in rest] if mode == "full_order" else [rest] if rest else []
        nodes += _grow(facets, facet, [(facet,), *below], {}, (ROOT, facet) if has_root else None)
    check_distinct("node", (node.name for node in nodes))
    return tuple(nodes)


def _grow(
    facets: Facets,
    tree: str,
    splits: list[tuple[str, ...]],
    chosen: dict[str, str],
    reads: tuple[str, str] | None,
) -> Iterator[TreeNode]:
    """The node that makes the first of `splits` where the facets in `chosen` are decided, and all nodes below it."""
    split, *below = splits
    choices = [chosen | dict(zip(split, values, strict=True)) for values in product(*(facets[name] for name in split))]
    branches = tuple("_".join(choice[name] for name in facets if name in choice) for choice in choices)
    name = "_".join([tree, *chosen.values()])
    yield TreeNode(name, len(chosen) + 1, reads, branches, is_last=not below)
    if below:
        for choice, own in zip(choices, branches, strict=True):
            yield from _grow(facets, tree, below, choice, (name, own))


def check_facets(facets: Facets) -> dict[str, tuple[str, ...]]:
    """`facets` as tuples; raises ValueError unless their combinations make distinct names for tasks."""
    if not isinstance(facets, Mapping) or not facets:
        raise ValueError(f"`facets` must be {{facet: values}}, one facet or more. Received: facets={facets!r}")
    found = {}
    for name, given in facets.items():
        check_name("facet", name)
        values = given if isinstance(given, str) else tuple(given)
        if isinstance(values, str) or not values or not all(isinstance(value, str) and value for value in values):
            raise ValueError(f"Facet {name!r} needs names, one or more. Received: {values!r}")
        check_distinct(f"{name} value", values)
        found[name] = values
    taken = [name for name, values in found.items() if SHARED in (name, *values)]
    if taken:
        raise ValueError(f"No facet and no value may be called {SHARED!r}. Received: it occurs in facet {taken[0]!r}")
    tasks = leaf_tasks(found)
    for task in tasks:
        check_name("task", task)
    check_distinct("task", tasks)
    return found

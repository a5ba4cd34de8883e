"""Behaviours x groups of users as tasks: what MFH learns."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, TypeVar

from tfmtl.schema.categorical import Categorical
from tfmtl.schema.names import check_distinct
from tfmtl.schema.schema import Schema
from tfmtl.schema.tasks import Task, task_to_dict
from tfmtl.schema.values import plain, several

T = TypeVar("T")
Group = str | int


@dataclass(frozen=True)
class TaskGrid:
    """One task for each behaviour in each group: `{behavior}_{group}`, defined for the rows of that group.

    A schema holds the grid's tasks, `Schema(features, grid.tasks)`; the grid itself says how they belong together. A
    group is one value of one column. Bands of a number, or several values that make one group, are a column to add to
    the data: `rows["age_band"] = pandas.cut(rows["age"], [0, 25, 65, 120], labels=["young", "working", "old"])`.

    Args:
        behaviors: what is predicted. Each task takes over its behaviour's kind, label, sample space and weights.
        groups: `{name: value in the column}`, all strings or all integers.
        column: the raw column that tells the groups apart. It may be a feature too.
        weights: `{group: factor}` for the weights of the group's tasks, 1 by default. With each group's share of the rows
            the joint loss is, up to a constant, the authors': a mean over all labelled (row, task) cells. Without, all
            tasks count alike.

    Raises:
        ValueError: no behaviour or group, two tasks of one name, a name that no task may have, group values that are
            mixed, repeated or the mark of a missing id, or weights that do not name every group.

    Example:

    >>> from tfmtl.schema import Task, TaskGrid
    >>> grid = TaskGrid([Task("finish"), Task("skip")], {"new": "n", "active": "a"}, column="segment")
    >>> [task.name for task in grid.tasks]
    ['finish_new', 'finish_active', 'skip_new', 'skip_active']
    >>> grid.tasks[0].sample_space
    ('segment', 'n')

    Reference:
        Liu et al., "Multi-Faceted Hierarchical Multi-Task Learning for Recommender Systems", CIKM 2022, arXiv:2110.13365.
        Names and the mask by group are as in the authors' code, which takes names apart again; here nothing does.
    """

    behaviors: tuple[Task, ...]
    groups: tuple[tuple[str, Group], ...]
    column: str
    weights: tuple[tuple[str, float], ...]

    def __init__(
        self,
        behaviors: Iterable[Task],
        groups: Mapping[str, Group],
        column: str,
        *,
        weights: Mapping[str, float] | None = None,
    ):
        object.__setattr__(self, "behaviors", several("behaviors", behaviors))
        # dict() also takes the pairs that `dataclasses.replace` hands back
        object.__setattr__(self, "groups", tuple((name, plain(value)) for name, value in dict(groups).items()))
        object.__setattr__(self, "column", column)
        if not self.behaviors or not self.groups:
            raise ValueError(
                f"A grid needs one behaviour and one group or more. Received: {len(self.behaviors)} behaviors, {len(self.groups)} groups"
            )
        if not all(isinstance(behavior, Task) for behavior in self.behaviors):
            raise ValueError(f"`behaviors` must be `Task`s. Received: behaviors={self.behaviors!r}")
        given = dict.fromkeys(self.group_names, 1.0) if weights is None else dict(weights)
        factors = {group: plain(factor) for group, factor in given.items()}
        object.__setattr__(self, "weights", tuple(self._of_groups("weights", factors).items()))
        check_distinct("behavior", (behavior.name for behavior in self.behaviors))
        check_distinct("task", (task.name for task in self.tasks))
        _ = self.feature  # refuses values that no column of ids can hold

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the groups, as declared."""
        return tuple(name for name, _ in self.groups)

    @property
    def feature(self) -> Categorical:
        """The column as a feature whose row `i` is the `i`-th group, from 1 on; row 0 is everyone else."""
        values: Any = tuple(value for _, value in self.groups)
        return Categorical(self.column, vocabulary=values, side="user")

    @property
    def cells(self) -> dict[str, dict[str, str]]:
        """`{behavior: {group: task}}`."""
        return {b.name: {group: f"{b.name}_{group}" for group in self.group_names} for b in self.behaviors}

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks, behaviour by behaviour."""
        weights = dict(self.weights)
        return tuple(
            replace(
                behavior,
                name=self.cells[behavior.name][group],
                label=behavior.label or behavior.name,
                sample_space=(*behavior.conditions, (self.column, value))
                if behavior.conditions
                else (self.column, value),
                weight=behavior.weight * weights[group],
            )
            for behavior, (group, value) in product(self.behaviors, self.groups)
        )

    @property
    def facets(self) -> dict[str, tuple[str, ...]]:
        """What `HierarchicalTaskTree` branches by: its leaves are `tasks`."""
        return {"behavior": tuple(behavior.name for behavior in self.behaviors), "group": self.group_names}

    def by_group(self, of_group: Mapping[str, T]) -> dict[str, T]:
        """`{group: x}` as `{task: x}`, for example towers whose shape depends on the group: `Towers(units=...)`."""
        given = self._of_groups("of_group", of_group)
        return {task: given[group] for tasks in self.cells.values() for group, task in tasks.items()}

    def served(self, schema: Schema) -> Schema:
        """The schema of a model whose towers are routed (`tfmtl.models.routed`): the behaviours are its tasks.

        The features are those of `schema`, and the column of the groups where it is not among them.
        """
        known = any(feature.name == self.column for feature in schema.features)
        return Schema(schema.features if known else (*schema.features, self.feature), self.behaviors)

    def to_json(self) -> str:
        """The grid as JSON text."""
        behaviors = [task_to_dict(behavior) for behavior in self.behaviors]
        given = {
            "behaviors": behaviors,
            "groups": dict(self.groups),
            "column": self.column,
            "weights": dict(self.weights),
        }
        return json.dumps(given, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "TaskGrid":
        """The grid that `to_json` wrote."""
        given = json.loads(text)
        return cls([Task(**task) for task in given.pop("behaviors")], **given)

    def _of_groups(self, what: str, given: Mapping[str, T]) -> dict[str, T]:
        if set(given) != set(self.group_names):
            raise ValueError(f"`{what}` must name every group {list(self.group_names)}. Received: {sorted(given)}")
        return {group: given[group] for group in self.group_names}

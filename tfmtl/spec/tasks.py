"""What a model predicts: frozen descriptions of tasks."""

import math
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, TypeAlias, get_args

from tfmtl.spec.names import check_name
from tfmtl.typing import SHARED, TaskKind

Column: TypeAlias = str | tuple[str, str | int | float]
"""A column, or `(column, value)`: whether the column equals the value."""


@dataclass(frozen=True)
class Task:
    """One thing to predict.

    A missing label (null or NaN) puts the row outside the task: it changes neither loss, gradient nor metric.

    Args:
        name: the task, from the label to the served output.
        kind: `"binary"` (label 0 or 1, output a probability) or `"regression"` (output a value).
        label: the label's column (default: `name`), or `(column, value)`: 1 where the column equals the value.
        sample_space: the rows that count, as a column (non-zero) or `(column, value)`; None is all rows. Outside of it
            the label becomes NaN: a conversion is defined for clicked rows, a leaf of MFH for its user group.
        weight: the task's weight in the joint loss, `w_{k,0}`.
        weight_decay: PLE's `gamma_k`: in epoch (or step) t the weight is `weight * weight_decay ** t`.

    Raises:
        ValueError: the name `shared`, an unknown kind, a negative weight, or a decay that is not positive.

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, equations 8 to 10.
    """

    name: str
    kind: TaskKind = "binary"
    _: KW_ONLY
    label: Column | None = None
    sample_space: Column | None = None
    weight: float = 1.0
    weight_decay: float = 1.0

    def __post_init__(self) -> None:
        check_name("task", self.name)
        if self.name == SHARED:
            raise ValueError(f"No task may be called {SHARED!r}: it is the stream that belongs to no task.")
        if self.kind not in get_args(TaskKind):
            raise ValueError(f"`kind` of task {self.name!r} must be one of {get_args(TaskKind)}. Received: kind={self.kind!r}")
        for field in ("label", "sample_space"):
            object.__setattr__(self, field, _column(self.name, field, getattr(self, field)))
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"`weight` of task {self.name!r} must be finite and >= 0. Received: weight={self.weight}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay > 0):
            raise ValueError(f"`weight_decay` of task {self.name!r} must be > 0. Received: weight_decay={self.weight_decay}")
        if isinstance(self.label, tuple) and self.kind != "binary":
            raise ValueError(f"A label `(column, value)` is 0 or 1. Received: label={self.label} for a {self.kind} task")

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that label and sample space read."""
        sources = [self.label or self.name, self.sample_space]
        named = [source if isinstance(source, str) else source[0] for source in sources if source is not None]
        return tuple(dict.fromkeys(named))


def task_to_dict(task: Task) -> dict[str, Any]:
    """`task` as JSON types; defaults are left out."""
    given = {f.name: getattr(task, f.name) for f in fields(task) if getattr(task, f.name) != f.default}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}


def _column(task: str, field: str, value: Any) -> Column | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], str):
        return (value[0], value[1])
    raise ValueError(f"`{field}` of task {task!r} must be a column or (column, value). Received: {field}={value!r}")

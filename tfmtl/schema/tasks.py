"""What a model predicts: frozen descriptions of tasks."""

import math
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any

from tfmtl.checks import check_option
from tfmtl.schema.label_source import LabelSource, checked_sample_space, checked_source, conditions, question
from tfmtl.schema.names import check_name
from tfmtl.typing import SERVED, SHARED, TaskKind


@dataclass(frozen=True)
class Task:
    """One thing to predict.

    A missing label (null or NaN) puts the row outside the task: it changes neither loss, gradient nor metric.

    Args:
        name: the task, from the label to the served output.
        kind: `"binary"` (label 0 or 1, output a probability) or `"regression"` (output a value).
        label: the label's column (default: `name`); `(column, value)`: 1 where the column equals the value; or
            `(column, ">=", number)`, also with `>`, `<=` and `<`: 1 where that holds, 0 where not, missing where it is missing.
        sample_space: the rows that count, in the same three forms (a column counts where it is not 0), or several of these
            that must all hold; None is all rows. Outside of it the label becomes NaN: a conversion is defined for clicked rows, a leaf
            of MFH for its user group. Two strings are always `(column, value)`.
        weight: the task's weight in the joint loss, `w_{k,0}`.
        weight_decay: PLE's `gamma_k`: in epoch (or step) t the weight is `weight * weight_decay ** t`.
        mean: of the labels, over the rows that count: the base rate of a binary task. Towers start there, and a binary
            task's loss is measured by the entropy of its base rate. `tfmtl.adapt` learns it; None is not known.
        variance: of a regression's labels, by which its loss is measured; learned likewise.

    Raises:
        ValueError: the name `shared` or one that exports use, an unknown kind, a negative weight, a decay that is not
            positive, a `mean` of a binary task outside [0, 1], a negative `variance`, or one of a binary task.

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, equations 8 to 10.
    """

    name: str
    kind: TaskKind = "binary"
    _: KW_ONLY
    label: LabelSource | None = None
    sample_space: LabelSource | tuple[LabelSource, ...] | None = None
    weight: float = 1.0
    weight_decay: float = 1.0
    mean: float | None = None
    variance: float | None = None

    def __post_init__(self) -> None:
        check_name("task", self.name)
        if self.name == SHARED:
            raise ValueError(f"No task may be called {SHARED!r}: it is the stream that belongs to no task.")
        if self.name in SERVED:
            raise ValueError(
                f"No task may be called {list(SERVED)}: signatures and outputs of an export are. "
                f"Received: name={self.name!r}. Another name can have it as its label: Task('my_{self.name}', label={self.name!r})"
            )
        check_option("kind", self.kind, TaskKind, of=f"task {self.name!r}")
        object.__setattr__(self, "label", checked_source(self.name, "label", self.label))
        object.__setattr__(self, "sample_space", checked_sample_space(self.name, self.sample_space))
        for field in ("weight", "weight_decay"):
            object.__setattr__(self, field, float(getattr(self, field)))
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"`weight` of task {self.name!r} must be finite and >= 0. Received: weight={self.weight}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay > 0):
            raise ValueError(
                f"`weight_decay` of task {self.name!r} must be > 0. Received: weight_decay={self.weight_decay}"
            )
        self._check_statistics()
        if isinstance(self.label, tuple) and self.kind != "binary":
            raise ValueError(
                f"A label `(column, value)`, or with a comparison, is 0 or 1. Received: label={self.label} for a {self.kind} task"
            )

    def _check_statistics(self) -> None:
        for field in ("mean", "variance"):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, float(value))
                if not math.isfinite(value):
                    raise ValueError(f"`{field}` of task {self.name!r} must be finite. Received: {field}={value}")
        if self.kind == "binary" and self.mean is not None and not 0 <= self.mean <= 1:
            raise ValueError(f"`mean` of the binary task {self.name!r} must be in [0, 1]. Received: mean={self.mean}")
        if self.variance is not None and (self.kind == "binary" or self.variance < 0):
            raise ValueError(
                f"`variance` must be >= 0 and of a regression; a binary task's follows from its `mean`. "
                f"Received: variance={self.variance} for the {self.kind} task {self.name!r}"
            )

    @property
    def is_measured(self) -> bool:
        """Whether the statistics of its labels are known."""
        return self.mean is not None and (self.kind == "binary" or self.variance is not None)

    @property
    def unit_of_loss(self) -> float | None:
        """The loss of always answering the mean: the entropy of a base rate, in nats, or the variance of a regression.

        None where it is not known, or where it is 0 because all labels are alike.
        """
        if not self.is_measured:
            return None
        if self.kind == "binary":
            rate = self.mean or 0.0
            return -sum(p * math.log(p) for p in (rate, 1 - rate)) if 0 < rate < 1 else None
        return self.variance or None

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that label and sample space read."""
        sources = (self.label or self.name, *self.conditions)
        return tuple(dict.fromkeys(question(source).column for source in sources))

    @property
    def conditions(self) -> tuple[LabelSource, ...]:
        """What must hold for a row to count; all rows do where nothing must."""
        return conditions(self.sample_space)


def task_to_dict(task: Task) -> dict[str, Any]:
    """`task` as JSON types; defaults are left out."""
    given = {f.name: getattr(task, f.name) for f in fields(task) if getattr(task, f.name) != f.default}
    return {k: _as_lists(v) for k, v in given.items()}


def _as_lists(value: Any) -> Any:
    return [_as_lists(part) for part in value] if isinstance(value, tuple) else value

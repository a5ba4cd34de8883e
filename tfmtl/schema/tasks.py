"""What a model predicts: frozen descriptions of tasks."""

import json
import math
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any

import numpy as np

from tfmtl.checks import check_count, check_option
from tfmtl.label_checks import LabelRule
from tfmtl.losses.coral import Coral
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.losses.task_loss import loss_to_dict, task_loss
from tfmtl.outputs import Output, output_of_kind
from tfmtl.schema.label_source import LabelSource, checked_sample_space, checked_source, conditions, question
from tfmtl.schema.names import check_name
from tfmtl.schema.values import plain, several
from tfmtl.typing import SERVED, SHARED, SIDE_STREAMS, TaskKind


@dataclass(frozen=True)
class Task:
    """One thing to predict, such as a click: where its label is, what kind it is, and for which rows it is defined.

    A missing label (null or NaN) puts the row outside the task: it changes neither loss, gradient nor metric.

    Args:
        name: the task, from the label to the served output.
        kind: `"binary"` (label 0 or 1, output a probability), `"regression"` (output a value) or `"multiclass"` (label the
            index of a class, from 0 on, output the probabilities of the classes, `(B, num_classes)`).
        num_classes: of a multiclass task, 2 or more.
        classes: what the label's column holds, class by class, in place of indices: `("free", "plus", "pro")`; `num_classes` is
            then their number.
        ordered: whether the classes of a multiclass task are in order, as stars are. One score and a threshold between each
            two classes give their probabilities (cumulative logits).
        loss: a loss of `tfmtl.losses` or of Keras, a function of labels and predictions, or a name of Keras's, in place of the
            kind's own; its mask is ours. Some change what the task predicts: `docs/losses.md` lists them.
        group: a column within whose values a ranking loss compares rows, such as the request or the user. `tfmtl.read` sets
            numbers for it beside the labels: `y[name]` is `(B, 3)`.
        label: the label's column (default: `name`); `(column, value)`: 1 where the column equals the value; or
            `(column, ">=", number)`, also with `>`, `<=` and `<`: 1 where that holds, 0 where not, missing where it is missing.
        sample_space: the rows that count, in the same three forms (a column counts where it is not 0), or several of these
            that must all hold; None is all rows. Outside of it the label becomes NaN: a conversion is defined for clicked rows, a leaf
            of MFH for its user group. Two strings are always `(column, value)`.
        weight: the task's weight in the joint loss, `w_{k,0}`.
        weight_decay: PLE's `gamma_k`: in epoch (or step) t the weight is `weight * weight_decay ** t`.
        mean: of the labels, over the rows that count: the base rate of a binary task. Towers start there, and a binary
            task's loss is measured by the entropy of its base rate. `tfmtl.adapt` learns it; None is not known.
        class_rates: of a multiclass task, how often each class is the label; learned likewise.
        variance: of a regression's labels, by which its loss is measured; learned likewise.

    Raises:
        ValueError: the name `shared` or one that exports use, an unknown kind, a negative weight, a decay that is not
            positive, a `mean` of a binary task outside [0, 1], a negative `variance`, or one of a binary task; a multiclass
            task without `num_classes` or `classes`, or another task with one of them; a loss that is none of its kind, that is
            not named in files, or that compares rows without a `group`.

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
    num_classes: int | None = None
    classes: tuple[str | int | float, ...] | None = None
    ordered: bool = False
    class_rates: tuple[float, ...] | None = None
    loss: Any = field(default=None, compare=False)
    group: str | None = None
    _loss: str | None = field(default=None, init=False, repr=False)  # by which two tasks with a loss are equal

    def __post_init__(self) -> None:
        check_name("task", self.name)
        if self.name in (SHARED, *SIDE_STREAMS):
            raise ValueError(f"No task may be called {self.name!r}: it is a stream that belongs to no task.")
        if self.name in SERVED:
            raise ValueError(
                f"No task may be called {list(SERVED)}: signatures and outputs of an export are. "
                f"Received: name={self.name!r}. Another name can have it as its label: Task('my_{self.name}', label={self.name!r})"
            )
        check_option("kind", self.kind, TaskKind, of=f"task {self.name!r}")
        object.__setattr__(self, "label", checked_source(self.name, "label", self.label))
        object.__setattr__(self, "sample_space", checked_sample_space(self.name, self.sample_space))
        for name in ("weight", "weight_decay"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"`weight` of task {self.name!r} must be finite and >= 0. Received: weight={self.weight}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay > 0):
            raise ValueError(
                f"`weight_decay` of task {self.name!r} must be > 0. Received: weight_decay={self.weight_decay}"
            )
        self._check_classes()
        self._check_statistics()
        self._check_loss()
        if isinstance(self.label, tuple) and self.kind != "binary":
            raise ValueError(
                f"A label `(column, value)`, or with a comparison, is 0 or 1. Received: label={self.label} for a {self.kind} task"
            )

    def _check_classes(self) -> None:
        if self.kind != "multiclass":
            if self.num_classes is not None or self.classes is not None or self.ordered or self.class_rates is not None:
                raise ValueError(
                    f"`num_classes`, `classes`, `ordered` and `class_rates` are of a multiclass task. Received: the "
                    f"{self.kind} task {self.name!r}"
                )
            return
        if self.classes is not None:
            values = tuple(plain(value) for value in several("classes", self.classes))
            fits = len(set(values)) == len(values) and len({isinstance(value, str) for value in values}) == 1
            if not fits or self.num_classes not in (None, len(values)):
                raise ValueError(
                    f"`classes` of task {self.name!r} must be distinct values, all texts or all numbers, `num_classes` of "
                    f"them. Received: classes={values}, num_classes={self.num_classes}"
                )
            object.__setattr__(self, "classes", values)
            object.__setattr__(self, "num_classes", len(values))
        if self.num_classes is None:
            raise ValueError(f"The multiclass task {self.name!r} needs `num_classes`, or its `classes`.")
        num_classes = check_count("num_classes", self.num_classes, least=2, of=f"task {self.name!r}")
        object.__setattr__(self, "num_classes", num_classes)

    def _check_loss(self) -> None:
        if self.loss is not None:
            loss = task_loss(self.loss, self.kind, self.num_classes, self.name)
            object.__setattr__(self, "loss", loss)
            object.__setattr__(self, "_loss", json.dumps(loss_to_dict(loss), sort_keys=True))
        if isinstance(self.loss, Coral) and not self.ordered:
            raise ValueError(f"`Coral` is a loss of ordered classes. Received: task {self.name!r} with ordered=False")
        compares = self.loss is not None and self.loss.grouped
        if compares and self.group is None:
            raise ValueError(
                f"The loss of task {self.name!r} compares rows of a group: `group` must name the column that says which "
                f"belong together. Received: loss={type(self.loss).__name__}, group=None"
            )
        if self.group is not None and not compares:
            raise ValueError(
                f"`group` of task {self.name!r} is for a loss that compares rows. Received: group={self.group!r}, "
                f"loss={self.loss!r}; `evaluate` has a `group` of its own"
            )

    def _check_statistics(self) -> None:
        for name in ("mean", "variance"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, float(value))
                if not math.isfinite(value):
                    raise ValueError(f"`{name}` of task {self.name!r} must be finite. Received: {name}={value}")
        if self.class_rates is not None:
            rates = tuple(float(rate) for rate in self.class_rates)
            object.__setattr__(self, "class_rates", rates)
            if len(rates) != self.num_classes or min(rates) < 0 or not math.isclose(sum(rates), 1, abs_tol=1e-3):
                raise ValueError(
                    f"`class_rates` of task {self.name!r} must be {self.num_classes} shares that add up to 1. "
                    f"Received: class_rates={rates}"
                )
        if self.kind == "multiclass" and (self.mean is not None or self.variance is not None):
            raise ValueError(
                f"`mean` and `variance` are of other tasks; the multiclass task {self.name!r} has `class_rates`."
            )
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
        if self.kind == "multiclass":
            return self.class_rates is not None
        return self.mean is not None and (self.kind == "binary" or self.variance is not None)

    @property
    def unit_of_loss(self) -> float | None:
        """The loss of always answering the mean: the entropy of the rates, in nats, or the variance of a regression.

        None where it is not known, where it is 0 because all labels are alike, and of a task with a loss of its own.
        """
        if not self.is_measured or self.loss is not None:
            return None
        if self.kind == "regression":
            return self.variance or None
        rates = self.class_rates or (self.mean or 0.0, 1 - (self.mean or 0.0))
        return -sum(rate * math.log(rate) for rate in rates if rate > 0) or None

    @property
    def start(self) -> float | tuple[float, ...] | None:
        """What a tower can start at: the mean of the labels, or the rates of the classes; None where it is not known."""
        return self.class_rates if self.kind == "multiclass" else self.mean

    @property
    def output(self) -> Output:
        """What its prediction holds."""
        own = None if self.loss is None else self.loss.output
        return own or output_of_kind(self.kind, self.num_classes, ordered=self.ordered)

    @property
    def masked_loss(self) -> MaskedLoss:
        """Its loss, or that of its kind."""
        loss: MaskedLoss = self.loss or task_loss(None, self.kind, self.num_classes, self.name)
        return loss

    @property
    def label_rule(self) -> LabelRule:
        """What its labels can be."""
        return self.masked_loss.label_rule

    def labels_of(self, given: Any) -> np.ndarray:
        """The labels alone, `(B,)`, of what a dataset gives for the task: with a `group` its numbers stand beside them."""
        values = np.asarray(given)
        return values[:, 0] if self.group is not None and values.ndim == 2 else values.reshape(-1)

    def judged(self, predictions: Any) -> np.ndarray:
        """What figures are computed of: the column that stands for a prediction, `(B,)`, or the probabilities of classes, `(B, C)`.

        What it has returned comes back as it is.

        Raises:
            ValueError: predictions of another width.
        """
        values = np.asarray(predictions, "float32")
        if self.output.width == 1 or (values.ndim == 1 and self.output.point is not None):
            return values.reshape(-1)
        if values.ndim != 2 or values.shape[1] != self.output.width:
            raise ValueError(
                f"A prediction of task {self.name!r} must have {self.output.width} columns. Received: shape={values.shape}"
            )
        return values if self.output.point is None else values[:, self.output.point]

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that label, sample space and group read, the label's first."""
        sources = (self.label or self.name, *self.conditions)
        asked = [question(source).column for source in sources]
        return tuple(dict.fromkeys(asked if self.group is None else [*asked, self.group]))

    @property
    def conditions(self) -> tuple[LabelSource, ...]:
        """What must hold for a row to count; all rows do where nothing must."""
        return conditions(self.sample_space)


def task_to_dict(task: Task) -> dict[str, Any]:
    """`task` as JSON types; defaults are left out."""
    given = {f.name: getattr(task, f.name) for f in fields(task) if f.init and getattr(task, f.name) != f.default}
    if task.classes is not None:
        del given["num_classes"]
    if task.loss is not None:
        given["loss"] = loss_to_dict(task.loss)
    return {k: _as_lists(v) for k, v in given.items()}


def _as_lists(value: Any) -> Any:
    return [_as_lists(part) for part in value] if isinstance(value, tuple) else value

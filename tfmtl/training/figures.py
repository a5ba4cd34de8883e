"""The figures of one task."""

import re
from collections.abc import Callable, Collection
from functools import cached_property, partial
from typing import Any

import numpy as np

from tfmtl.metrics import exact
from tfmtl.schema import Task
from tfmtl.typing import TaskKind

FIGURES = (
    "rows",
    "positives",
    "auc",
    "logloss",
    "calibration",
    "accuracy",
    "rmse",
    "mse",
    "gauc",
    "gauc_group_coverage",
    "gauc_row_coverage",
)
"""The names of the figures that are shown where none are asked for, those of all kinds of tasks."""

ASKED = ("ap", "ne", "brier", "ece", "ece_width", "xauc", "gauc_positives", "gauc_groups", "mrr")
"""Further figures to ask for; and `ndcg@k`, `recall@k` and `hit@k` for any number k."""

WATCHED = ("auc", "gauc", "logloss", "calibration", "accuracy", "rmse")
"""Those that one watches while a model is trained: the others count rows, or say the same in another unit."""

_GAUC = ("gauc", "gauc_group_coverage", "gauc_row_coverage")
_AT = re.compile(r"(ndcg|recall|hit)@([1-9]\d*)")


def is_figure(name: str) -> bool:
    """Whether there is a figure of that name."""
    return name in FIGURES or name in ASKED or bool(_AT.fullmatch(name))


def needs_groups(name: str) -> bool:
    """Whether a figure that one asks for compares rows within groups."""
    return name in ("mrr", "gauc_positives", "gauc_groups") or bool(_AT.fullmatch(name))


def task_figures(
    task: Task,
    labels: np.ndarray,
    predictions: np.ndarray,
    groups: np.ndarray | None,
    weights: np.ndarray | None = None,
    names: Collection[str] = FIGURES,
) -> dict[str, float]:
    """Those of the named figures that the task has, over rows that all have a label.

    Args:
        task: the task.
        labels: `(N,)`.
        predictions: `(N,)`, or `(N, width)`.
        groups: `(N,)` numbers, -1 of a row in none; None where there are no groups.
        weights: `(N,)`; None weighs all rows alike.
        names: as in `evaluate`.
    """
    found = _Figures(task, labels, task.judged(predictions), groups, weights)
    return {name: found[name] for name in names if found.has(name)}


class _Figures:
    """Figures by name, each computed when it is asked for."""

    def __init__(
        self,
        task: Task,
        labels: np.ndarray,
        predictions: np.ndarray,
        groups: np.ndarray | None,
        weights: np.ndarray | None,
    ):
        self.kind = task.kind
        self.given = (labels, predictions, weights)
        self.groups = groups

    def has(self, name: str) -> bool:
        """Whether a task of this kind has the figure, here where there are groups or none."""
        if name == "rows" or name in _COMPUTED[self.kind]:
            return True
        compared = name in _GAUC or needs_groups(name)
        return self.kind == "binary" and (name == "positives" or (compared and self.groups is not None))

    def __getitem__(self, name: str) -> float:
        labels, predictions, weights = self.given
        if name == "rows":
            return len(labels)
        if name == "positives":
            return int(labels.sum(dtype="float64"))
        if name in _GAUC:
            return self._gauc[_GAUC.index(name)]
        if name in ("gauc_positives", "gauc_groups"):
            by: Any = name.removeprefix("gauc_")
            return exact.group_auc(labels, predictions, self._known_groups, weights, by).auc
        if name == "mrr":
            return self._ranking.mrr()
        if at := _AT.fullmatch(name):
            ranked: float = getattr(self._ranking, at[1])(int(at[2]))
            return ranked
        return _COMPUTED[self.kind][name](labels, predictions, weights)

    @property
    def _known_groups(self) -> np.ndarray:
        return np.full(len(self.given[0]), -1) if self.groups is None else self.groups

    @cached_property
    def _gauc(self) -> exact.GroupAUC:
        labels, predictions, weights = self.given
        return exact.group_auc(labels, predictions, self._known_groups, weights)

    @cached_property
    def _ranking(self) -> exact.Ranking:
        labels, predictions, weights = self.given
        return exact.Ranking(labels, predictions, self._known_groups, weights)


def _root_mean_squared_error(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None) -> float:
    return exact.mean_squared_error(labels, predictions, weights) ** 0.5


_COMPUTED: dict[TaskKind, dict[str, Callable[..., float]]] = {
    "binary": {
        "auc": exact.auc,
        "logloss": exact.log_loss,
        "calibration": exact.calibration,
        "ap": exact.average_precision,
        "ne": exact.normalized_entropy,
        "brier": exact.mean_squared_error,
        "ece": exact.calibration_error,
        "ece_width": partial(exact.calibration_error, by_width=True),
    },
    "regression": {"rmse": _root_mean_squared_error, "mse": exact.mean_squared_error, "xauc": exact.xauc},
    "multiclass": {"auc": exact.macro_auc, "logloss": exact.class_log_loss, "accuracy": exact.accuracy},
}

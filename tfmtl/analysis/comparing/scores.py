"""The figure that a task is judged by."""

import numpy as np

from tfmtl.schema import Schema, Task
from tfmtl.training.figures import task_figures
from tfmtl.training.held_rows import HeldRows

MAIN_FIGURE = {"binary": "auc", "regression": "r2", "multiclass": "auc"}
"""By the kind of a task, the figure that decides: greater is better, and tasks of all sizes can be averaged."""


def figures_of(task: Task, rows: HeldRows, predictions: np.ndarray) -> dict[str, float]:
    """All figures of a task over its labelled rows.

    They are those of `evaluate`, and of a regression `r2`, the share of its labels' variance that is explained.
    """
    labels = rows.labels[task.name]
    labelled = ~np.isnan(labels)
    groups = None if rows.groups is None else rows.groups[labelled]
    weights = None if rows.weights is None else rows.weights[task.name][labelled]
    figures = task_figures(task, labels[labelled], predictions[labelled], groups, weights)
    if task.kind == "regression":
        figures["r2"] = 1 - figures["mse"] / variance(labels[labelled], weights)
    return figures


def variance(labels: np.ndarray, weights: np.ndarray | None) -> float:
    """The variance of labels around their weighted mean; NaN where there is none."""
    known = labels.astype("float64")
    mean = np.average(known, weights=weights)
    return float(np.average(np.square(known - mean), weights=weights)) or float("nan")


def valid_figures(schema: Schema, rows: HeldRows, predictions: dict[str, np.ndarray]) -> dict[str, float]:
    """`{task}_{figure}` of every task, without figures by group, which cost the most."""
    found: dict[str, float] = {}
    for task in schema.tasks:
        wanted = ("rmse", "r2") if task.kind == "regression" else ("auc", "logloss")
        figures = figures_of(task, rows, predictions[task.name])
        found |= {f"{task.name}_{name}": figures[name] for name in wanted}
    return found


def score(schema: Schema, figures: dict[str, float]) -> float:
    """What epochs and learning rates are chosen by: the mean of the tasks' main figures."""
    return float(np.mean([figures[f"{task.name}_{MAIN_FIGURE[task.kind]}"] for task in schema.tasks]))

"""The figures of one task."""

import numpy as np

from tfmtl.metrics import exact
from tfmtl.schema import Task

FIGURES = (
    "rows",
    "positives",
    "auc",
    "logloss",
    "calibration",
    "rmse",
    "mse",
    "gauc",
    "gauc_group_coverage",
    "gauc_row_coverage",
)
"""The names of all figures, those of both kinds of tasks."""

WATCHED = ("auc", "gauc", "logloss", "calibration", "rmse")
"""Those that one watches while a model is trained: the others count rows, or say the same in another unit."""


def task_figures(
    task: Task,
    labels: np.ndarray,
    predictions: np.ndarray,
    groups: np.ndarray | None,
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    """The figures of one task over rows that all have a label."""
    figures: dict[str, float] = {"rows": len(labels)}
    if task.kind == "regression":
        mse = exact.mean_squared_error(labels, predictions, weights)
        return {**figures, "rmse": mse**0.5, "mse": mse}
    figures["positives"] = int(labels.sum(dtype="float64"))
    figures["auc"] = exact.auc(labels, predictions, weights)
    figures["logloss"] = exact.log_loss(labels, predictions, weights)
    figures["calibration"] = exact.calibration(labels, predictions, weights)
    if groups is not None:
        gauc = exact.group_auc(labels, predictions, groups, weights)
        figures["gauc"] = gauc.auc
        figures["gauc_group_coverage"] = gauc.group_coverage
        figures["gauc_row_coverage"] = gauc.row_coverage
    return figures

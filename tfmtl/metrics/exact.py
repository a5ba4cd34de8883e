"""Exact figures of arrays that are at hand as a whole (NumPy); labels hold no NaN."""

from typing import NamedTuple

import numpy as np

from tfmtl.masked_rows import EPSILON

NAN = float("nan")


class GroupAUC(NamedTuple):
    """The mean of the AUCs within groups, weighted by their rows, and how much of the data it stands for."""

    auc: float
    group_coverage: float
    row_coverage: float


def auc(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Area under the ROC curve; ties count half. NaN without both classes, or with a NaN prediction."""
    return float(auc_by_group(labels, predictions, np.zeros(len(labels), "int8"))[0][0]) if len(labels) else NAN


def auc_by_group(labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The AUC within every group, in the order of `groups`' values, and the number of its rows.

    ```
    AUC_g = (sum of the positives' ranks in g - P_g (P_g + 1) / 2) / (P_g N_g)
    ```
    """
    order = np.lexsort((predictions, groups))
    labels, predictions, groups = labels[order], predictions[order], groups[order]
    first_of_group = _changes(groups)
    first_of_tie = first_of_group | _changes(predictions)
    ties, group = np.flatnonzero(first_of_tie), np.cumsum(first_of_group) - 1

    # Rows that tie share the mean of their ranks, counted from the start of their group.
    sizes = np.diff(ties, append=len(order))
    ranks = np.repeat(ties - np.flatnonzero(first_of_group)[group[ties]] + (sizes + 1) / 2, sizes)
    ranks[np.isnan(predictions)] = NAN
    rows, positives = np.bincount(group), np.bincount(group, labels)
    with np.errstate(invalid="ignore"):
        areas = (np.bincount(group, ranks * labels) - positives * (positives + 1) / 2) / (
            positives * (rows - positives)
        )
    return areas, rows


def group_auc(labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray) -> GroupAUC:
    """GAUC: the mean AUC within groups that have both classes, weighted by their rows; rows of group -1 are in none."""
    known = groups >= 0
    if not known.any():
        return GroupAUC(NAN, NAN, NAN if not len(groups) else 0.0)
    areas, rows = auc_by_group(labels[known], predictions[known], groups[known])
    counted = ~np.isnan(areas)
    defined = counted.any() and not np.isnan(predictions[known]).any()
    mean = np.average(areas[counted], weights=rows[counted]) if defined else NAN
    return GroupAUC(float(mean), float(counted.mean()), float(rows[counted].sum() / len(groups)))


def log_loss(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean cross-entropy, predictions read as lying in `[1e-7, 1 - 1e-7]`; NaN without rows."""
    clipped = np.clip(predictions, EPSILON, 1 - EPSILON, dtype="float64")
    return _mean(-(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)))


def calibration(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean prediction over mean label; NaN where the labels add up to 0."""
    total = labels.sum(dtype="float64")
    return float(predictions.sum(dtype="float64") / total) if total else NAN


def mean_squared_error(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean squared error; NaN without rows."""
    return _mean(np.square(labels.astype("float64") - predictions))


def _changes(values: np.ndarray) -> np.ndarray:
    """Where a value differs from the one before; the first does."""
    return np.concatenate([np.ones(1, bool), values[1:] != values[:-1]])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else NAN

"""Exact figures of arrays that are at hand as a whole (NumPy); labels hold no NaN, weights are finite and >= 0."""

from typing import NamedTuple

import numpy as np

from tfmtl.masked_rows import EPSILON

NAN = float("nan")


class GroupAUC(NamedTuple):
    """The mean of the AUCs within groups, weighted by their rows, and how much of the data it stands for."""

    auc: float
    group_coverage: float
    row_coverage: float


def auc(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the ROC curve; ties count half. NaN without both classes, or with a NaN prediction."""
    if not len(labels):
        return NAN
    return float(auc_by_group(labels, predictions, np.zeros(len(labels), "int8"), weights)[0][0])


def auc_by_group(
    labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The AUC within every group, in the order of `groups`' values, and the weight of its rows (1 each, if not given).

    ```
    AUC_g = sum_{i positive} w_i (N_g(p < p_i) + N_g(p = p_i) / 2) / (P_g N_g)
    ```

    `P_g` and `N_g` are the weights of the positives and negatives of the group; `N_g(...)` of those that are meant.
    """
    order = np.lexsort((predictions, groups))
    labels, predictions, groups = labels[order], predictions[order], groups[order]
    weights = np.ones(len(order), "float32") if weights is None else weights[order]
    first_of_group = _changes(groups)
    ties, group = np.flatnonzero(first_of_group | _changes(predictions)), np.cumsum(first_of_group) - 1
    del order, groups

    positives = weights * labels
    negatives = weights - positives
    # The negatives below a tie, counted from the start of its group.
    below = np.concatenate([[0.0], np.cumsum(negatives, dtype="float64")])
    below = below[ties] - below[np.flatnonzero(first_of_group)[group[ties]]]
    below += np.add.reduceat(negatives, ties, dtype="float64") / 2
    below *= np.add.reduceat(positives, ties, dtype="float64")
    below[np.isnan(predictions[ties])] = NAN
    pairs = np.bincount(group[ties], below)
    with np.errstate(invalid="ignore"):
        areas = pairs / (np.bincount(group, positives) * np.bincount(group, negatives))
    return areas, np.bincount(group, weights)


def group_auc(
    labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None
) -> GroupAUC:
    """GAUC: the mean AUC within groups that have both classes, weighted by their rows; rows of group -1 are in none."""
    known = groups >= 0
    if not known.any():
        return GroupAUC(NAN, NAN, NAN if not len(groups) else 0.0)
    of_known = None if weights is None else weights[known]
    areas, sizes = auc_by_group(labels[known], predictions[known], groups[known], of_known)
    counted = ~np.isnan(areas)
    defined = counted.any() and not np.isnan(predictions[known]).any()
    mean = np.average(areas[counted], weights=sizes[counted]) if defined else NAN
    total = len(groups) if weights is None else weights.sum(dtype="float64")
    return GroupAUC(float(mean), float(counted.mean()), float(sizes[counted].sum() / total) if total else NAN)


def log_loss(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean cross-entropy, predictions read as lying in `[1e-7, 1 - 1e-7]`; NaN without rows of any weight."""
    clipped = np.clip(predictions, EPSILON, 1 - EPSILON, dtype="float64")
    return _mean(-(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)), weights)


def calibration(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean prediction over mean label; NaN where the labels add up to 0."""
    if weights is not None:
        labels, predictions = labels * weights, predictions * weights
    total = labels.sum(dtype="float64")
    return float(predictions.sum(dtype="float64") / total) if total else NAN


def mean_squared_error(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean squared error; NaN without rows of any weight."""
    return _mean(np.square(labels.astype("float64") - predictions), weights)


def _changes(values: np.ndarray) -> np.ndarray:
    """Where a value differs from the one before; the first does."""
    return np.concatenate([np.ones(1, bool), values[1:] != values[:-1]])


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float:
    if weights is None:
        return float(values.mean()) if len(values) else NAN
    total = weights.sum(dtype="float64")
    return float(np.dot(values, weights) / total) if total else NAN

"""Exact figures of arrays that are at hand as a whole (NumPy); labels hold no NaN, weights are finite and >= 0."""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from tfmtl.masked_rows import EPSILON, LEAST

NAN = float("nan")

GroupWeight: TypeAlias = Literal["rows", "positives", "groups"]
"""What a group counts by in a mean over groups: its rows, its positives, or each group the same."""


class GroupAUC(NamedTuple):
    """The mean of the AUCs within groups, and how much of the data it stands for."""

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


def macro_auc(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The mean over the classes of the AUC of each against all others, `predictions` being `(N, C)`; NaN where a class lacks."""
    classes = range(predictions.shape[1])
    return float(np.mean([auc((labels == each).astype("float32"), predictions[:, each], weights) for each in classes]))


def average_precision(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """`sum_n (R_n - R_{n-1}) P_n` over the distinct predictions as thresholds; NaN without a positive, or with a NaN prediction."""
    weights = np.ones(len(labels)) if weights is None else weights.astype("float64")
    positives = float((weights * labels).sum())
    if not positives or np.isnan(predictions).any():
        return NAN
    order = np.argsort(-predictions, kind="stable")
    last = np.concatenate([_changes(predictions[order])[1:], [True]])  # of the rows that share a threshold
    found = np.cumsum((weights * labels)[order])[last]
    listed = np.cumsum(weights[order])[last]
    return float(np.sum(np.diff(found, prepend=0) * found / np.where(listed > 0, listed, 1)) / positives)


def xauc(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The share of pairs with different labels that are predicted in their order; equal predictions count half.

    A pair counts by the product of its weights. Rows are sorted by label and merged, halves of halves: `N log(N)^2`.
    """
    if np.isnan(predictions).any() or not len(labels):
        return NAN
    weights = np.ones(len(labels)) if weights is None else weights.astype("float64")
    order = np.lexsort((-predictions, labels))  # of equal labels none counts as in order
    labels, predictions, weights = labels[order], predictions[order], weights[order]
    same = np.add.reduceat(weights, np.flatnonzero(_changes(labels)))
    pairs = (weights.sum() ** 2 - np.square(same).sum()) / 2
    if not pairs > 0:
        return NAN
    ranks = np.unique(predictions, return_inverse=True)[1]
    in_order = sum(_in_order_across(ranks, weights, 1 << level) for level in range(int(len(ranks) - 1).bit_length()))
    alike = _changes(labels) | _changes(predictions)
    sums, squares = (np.add.reduceat(each, np.flatnonzero(alike)) for each in (weights, np.square(weights)))
    return float((in_order - (np.square(sums) - squares).sum() / 4) / pairs)


def _in_order_across(ranks: np.ndarray, weights: np.ndarray, half: int) -> float:
    """Pairs of a row in the first and one in the second half of each block of `2 * half` rows that are in order; ties half."""
    place = np.arange(len(ranks))
    block, second = place // (2 * half), place // half % 2 == 1
    order = np.lexsort((ranks, block))
    first_weight = np.where(second, 0.0, weights)[order]
    before = np.cumsum(first_weight) - first_weight
    starts = np.flatnonzero(_changes(block[order]) | _changes(ranks[order]))
    of_start = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(ranks))))
    block_start = np.flatnonzero(_changes(block[order]))[block[order]]
    below = before[starts][of_start] - before[block_start]
    level = np.add.reduceat(first_weight, starts)[of_start]
    return float(np.dot(np.where(second, weights, 0.0)[order], below + level / 2))


def group_auc(
    labels: np.ndarray,
    predictions: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray | None = None,
    by: GroupWeight = "rows",
) -> GroupAUC:
    """GAUC: the mean AUC within groups that have both classes, weighted as `by` says; rows of group -1 are in none."""
    known = groups >= 0
    if not known.any():
        return GroupAUC(NAN, NAN, NAN if not len(groups) else 0.0)
    of_known = None if weights is None else weights[known]
    areas, sizes = auc_by_group(labels[known], predictions[known], groups[known], of_known)
    counted = ~np.isnan(areas)
    defined = counted.any() and not np.isnan(predictions[known]).any()
    counts = sizes
    if by != "rows":
        numbers = np.unique(groups[known], return_inverse=True)[1]
        positives = labels[known] if of_known is None else labels[known] * of_known
        counts = np.bincount(numbers, positives) if by == "positives" else np.ones(len(sizes))
    mean = np.average(areas[counted], weights=counts[counted]) if defined and counts[counted].sum() else NAN
    total = len(groups) if weights is None else weights.sum(dtype="float64")
    return GroupAUC(float(mean), float(counted.mean()), float(sizes[counted].sum() / total) if total else NAN)


def log_loss(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean cross-entropy, predictions read as lying in `[1e-7, 1 - 1e-7]`; NaN without rows of any weight."""
    clipped = np.clip(predictions, EPSILON, 1 - EPSILON, dtype="float64")
    return _mean(-(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)), weights)


def class_log_loss(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean cross-entropy of the probability, `(N, C)`, of the label's class, at least 1e-12; NaN without rows of any weight."""
    chosen = np.take_along_axis(predictions, labels.astype("int64")[:, None], 1)[:, 0]
    return _mean(-np.log(np.maximum(chosen, LEAST, dtype="float64")), weights)


def accuracy(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The share of rows whose likeliest class, of `(N, C)`, is the label; NaN without rows of any weight."""
    right = predictions.argmax(axis=1) == labels if len(labels) else np.zeros(0)
    right = np.where(np.isnan(predictions).any(axis=1), NAN, right)
    return _mean(right.astype("float64"), weights)


def normalized_entropy(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Log loss over that of always answering the labels' mean; NaN without both classes."""
    rate = _mean(labels.astype("float64"), weights)
    if not 0 < rate < 1:
        return NAN
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    return log_loss(labels, predictions, weights) / float(entropy)


def calibration_error(
    labels: np.ndarray,
    predictions: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    bins: int = 10,
    by_width: bool = False,
) -> float:
    """ECE: `|mean label - mean prediction|` of bins of predictions, weighted by their rows; NaN without rows of any weight.

    Bins of equally many rows, where equal predictions share a bin, or `by_width` of [0, 1].
    """
    weights = np.ones(len(labels)) if weights is None else weights.astype("float64")
    total = weights.sum()
    if not total or np.isnan(predictions).any():
        return NAN
    predictions = predictions.astype("float64")
    if by_width:
        # In float32, as a model predicts and a streaming metric counts: 0.7 lies at an edge, not below it.
        place = np.clip((predictions.astype("float32") * np.float32(bins)).astype("int64"), 0, bins - 1)
    else:
        ties = np.unique(predictions, return_inverse=True)[1]
        mass = np.bincount(ties, weights)
        middle = np.cumsum(mass) - mass / 2
        place = np.clip((middle / total * bins).astype("int64"), 0, bins - 1)[ties]
    return float(np.abs(np.bincount(place, weights * (labels - predictions), bins)).sum() / total)


def calibration(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean prediction over mean label; NaN where the labels add up to 0."""
    if weights is not None:
        labels, predictions = labels * weights, predictions * weights
    total = labels.sum(dtype="float64")
    return float(predictions.sum(dtype="float64") / total) if total else NAN


def mean_squared_error(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean squared error; NaN without rows of any weight."""
    return _mean(np.square(labels.astype("float64") - predictions), weights)


class Ranking:
    """The rows of each group in the order of their predictions, the best first; of equal ones the negatives come first.

    So a model that answers everything alike finds nothing. Groups without a positive, and rows of group -1, are left out. A mean
    over groups counts each by the mean weight of its rows.

    Args:
        labels: `(N,)`, 0 and 1.
        predictions, groups, weights: `(N,)`.
    """

    def __init__(
        self, labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None
    ):
        known = groups >= 0
        labels, predictions, groups = labels[known], predictions[known], groups[known]
        weights = np.ones(len(labels)) if weights is None else weights[known].astype("float64")
        order = np.lexsort((labels, -predictions, groups))
        starts = np.flatnonzero(_changes(groups[order])) if len(order) else np.zeros(0, "int64")
        sizes = np.diff(np.append(starts, len(order)))
        self.group = np.repeat(np.arange(len(starts)), sizes)
        self.place = np.arange(len(order)) - starts[self.group]
        self.labels = labels[order]
        self.positives = np.bincount(self.group, self.labels, len(starts))
        self.weights = np.bincount(self.group, weights[order], len(starts)) / np.maximum(sizes, 1)
        self.defined = not np.isnan(predictions).any()

    def ndcg(self, k: int) -> float:
        """Discounted cumulative gain of the first `k`, over that of the best order."""
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
        best = ideal[np.minimum(self.positives.astype("int64"), k)]
        return self._mean(self._found(k, 1 / np.log2(self.place + 2)) / np.where(best > 0, best, 1.0))

    def recall(self, k: int) -> float:
        """The share of a group's positives among its first `k`."""
        return self._mean(self._found(k) / np.maximum(self.positives, 1.0))

    def hit(self, k: int) -> float:
        """The share of groups with a positive among their first `k`."""
        return self._mean(np.minimum(self._found(k), 1.0))

    def mrr(self) -> float:
        """The mean of 1 over the rank of a group's first positive."""
        first = np.zeros(len(self.positives))
        np.maximum.at(first, self.group, np.where(self.labels > 0, 1.0 / (self.place + 1), 0.0))
        return self._mean(first)

    def _found(self, k: int, gains: np.ndarray | float = 1.0) -> np.ndarray:
        """What the positives among the first `k` of each group are worth."""
        return np.bincount(self.group, np.where(self.place < k, self.labels * gains, 0.0), len(self.positives))

    def _mean(self, of_groups: np.ndarray) -> float:
        """The mean over groups with a positive; NaN where there is none, or a prediction is NaN."""
        counted = self.positives > 0
        if not self.defined or not self.weights[counted].sum():
            return NAN
        return float(np.average(of_groups[counted], weights=self.weights[counted]))


def _changes(values: np.ndarray) -> np.ndarray:
    """Where a value differs from the one before; the first does."""
    return np.concatenate([np.ones(1, bool), values[1:] != values[:-1]])


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float:
    if weights is None:
        return float(values.mean()) if len(values) else NAN
    total = weights.sum(dtype="float64")
    return float(np.dot(values, weights) / total) if total else NAN

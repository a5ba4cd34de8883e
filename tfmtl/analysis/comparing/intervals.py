"""Intervals of a mean: over seeds, and over rows or users of the test set."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np

from tfmtl.schema import Task
from tfmtl.training.held_rows import HeldRows

Interval: TypeAlias = tuple[float, float]


def over_seeds(values: Sequence[float], confidence: float) -> Interval | None:
    """Student's interval of the mean of `values`; None for fewer than two."""
    if len(values) < 2:
        return None
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = student_quantile((1 + confidence) / 2, len(values) - 1) * error
    mean = float(np.mean(values))
    return mean - half, mean + half


def over_rows(mean: float, error: float, confidence: float) -> Interval | None:
    """The normal interval around `mean`; None where its standard error is not known."""
    if not math.isfinite(error):
        return None
    half = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return mean - half, mean + half


def student_quantile(probability: float, degrees: int) -> float:
    """The quantile, above the median, of Student's t with a whole number of degrees of freedom."""
    low, high = 0.0, 1.0
    while _student_cdf(high, degrees) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _student_cdf(t: float, degrees: int) -> float:
    """Abramowitz & Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for j in range(1 + odd, degrees, 2):
        total += term
        term *= cosine**2 * j / (j + 1)
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return (1 + inside) / 2


def bootstrap_errors(
    task: Task,
    rows: HeldRows,
    runs: Mapping[str, Mapping[int, np.ndarray]],
    twins: Mapping[int, np.ndarray],
    resamples: int,
) -> dict[str, float]:
    """For each contestant the standard error of its mean gain, as far as it is due to which rows the test set holds.

    Groups of rows are drawn with replacement, all rows of a group together, or single rows where there are no groups; a
    row without a group is one of its own. All models are judged on the same draws, and a gain is the mean over the seeds
    that both sides have. NaN where `resamples` is below 2, or where most draws leave the figure undefined.

    Args:
        task: binary or multiclass, judged by its AUC, or a regression, judged by the variance that it explains.
        rows: the test rows.
        runs: by contestant and seed, the predictions of all rows.
        twins: by seed, those of the task's twin.
        resamples: draws.
    """
    labels = rows.labels[task.name]
    labelled = np.flatnonzero(~np.isnan(labels))
    weights = np.ones(len(labelled)) if rows.weights is None else rows.weights[task.name][labelled].astype("float64")
    groups = _groups(rows, labelled)
    judge: Any = {"binary": _ResampledAUC, "regression": _ResampledR2, "multiclass": _ResampledMacroAUC}[task.kind]
    pairs = {name: sorted(set(found) & set(twins)) for name, found in runs.items()}
    needed = {seed for seeds in pairs.values() for seed in seeds}
    judges = {("", seed): judge(labels[labelled], task.judged(twins[seed][labelled])) for seed in needed}
    for name, seeds in pairs.items():
        judges |= {(name, seed): judge(labels[labelled], task.judged(runs[name][seed][labelled])) for seed in seeds}
    draws = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(resamples):
        drawn = draws.integers(0, groups.max() + 1, groups.max() + 1)
        counts = np.bincount(drawn, minlength=groups.max() + 1)[groups] * weights
        figures = {key: judged(counts) for key, judged in judges.items()}
        for name, seeds in pairs.items():
            if seeds:
                found[name].append(float(np.mean([figures[name, seed] - figures["", seed] for seed in seeds])))
    return {name: _spread(np.array(values), resamples) for name, values in found.items()}


def _groups(rows: HeldRows, labelled: np.ndarray) -> np.ndarray:
    """Which draw each row goes with, numbered from 0."""
    if rows.groups is None:
        return np.arange(len(labelled))
    groups = rows.groups[labelled].astype("int64")
    alone = groups < 0
    groups[alone] = groups.max() + 1 + np.arange(alone.sum())
    return np.unique(groups, return_inverse=True)[1]


def _spread(values: np.ndarray, resamples: int) -> float:
    defined = values[np.isfinite(values)]
    return float(np.std(defined, ddof=1)) if len(defined) >= max(2, resamples / 2) else float("nan")


class _ResampledAUC:
    """The AUC of the same predictions under one set of weights after another: they are sorted once."""

    def __init__(self, labels: np.ndarray, predictions: np.ndarray):
        self.order = np.argsort(predictions, kind="stable")
        ordered = predictions[self.order]
        self.positive = labels[self.order] > 0
        self.ties = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))

    def __call__(self, weights: np.ndarray) -> float:
        weights = weights[self.order]
        positives = np.add.reduceat(np.where(self.positive, weights, 0), self.ties)
        negatives = np.add.reduceat(np.where(self.positive, 0, weights), self.ties)
        below = np.cumsum(negatives) - negatives / 2
        pairs = positives.sum() * negatives.sum()
        return float(positives @ below / pairs) if pairs else float("nan")


class _ResampledMacroAUC:
    """The mean over the classes of the AUC of each against the others, as `_ResampledAUC`."""

    def __init__(self, labels: np.ndarray, predictions: np.ndarray):
        classes = range(predictions.shape[1])
        self.of_classes = [_ResampledAUC((labels == each).astype("float32"), predictions[:, each]) for each in classes]

    def __call__(self, weights: np.ndarray) -> float:
        return float(np.mean([judged(weights) for judged in self.of_classes]))


class _ResampledR2:
    """The explained variance of the same predictions under one set of weights after another."""

    def __init__(self, labels: np.ndarray, predictions: np.ndarray):
        self.labels = labels.astype("float64")
        self.errors = np.square(self.labels - predictions)

    def __call__(self, weights: np.ndarray) -> float:
        if not weights.any():
            return float("nan")
        mean = np.average(self.labels, weights=weights)
        variance = np.average(np.square(self.labels - mean), weights=weights)
        return float(1 - np.average(self.errors, weights=weights) / variance) if variance else float("nan")

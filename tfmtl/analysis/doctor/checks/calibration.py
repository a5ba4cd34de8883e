"""Predictions that are off from how often the label is 1."""

import math
from collections.abc import Iterator

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.analysis.doctor.significance import ALPHA, normal_tail
from tfmtl.schema import Task

BINS = 10
IN_A_BIN = 20
"""Rows, and of a binary task labels of the rarer class, that a bin holds on average: with fewer its mean is not near normal."""

OFF = 0.1
"""Predictions that are off by less than a tenth of the base rate (of the deviation, for a regression) do little harm."""


def miscalibrated(examined: Examination) -> Iterator[Finding]:
    """Tasks whose predictions differ from the labels in bins of equal mass by more than chance, and by more than a tenth.

    A task whose loss ranks learns no rate, and a quantile is no mean: these are passed over.

    The error is the root mean square over the bins, less what chance alone would give: Kumar, Liang, Ma, "Verified Uncertainty
    Calibration", NeurIPS 2019, arXiv:1909.10155.
    """
    for task in examined.sound if examined.trained else ():
        if task.group is not None or task.output.form == "quantiles":
            continue
        finding = _miscalibrated(task, *examined.rows.of_task(task.name))
        if finding is not None:
            yield finding


def _miscalibrated(task: Task, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Finding | None:
    labels, predictions, weights = (part.astype("float64") for part in (labels, predictions, weights))
    rarer = min(labels.sum(), (1 - labels).sum()) if task.kind == "binary" else len(labels)
    bins = int(min(BINS, rarer // IN_A_BIN))
    if bins < 1 or not weights.sum():
        return None
    order = np.argsort(predictions, kind="stable")
    mass = np.cumsum(weights[order])
    bin_of = np.minimum((mass - weights[order] / 2) / mass[-1] * bins, bins - 1).astype(int)
    off, error, share, mean = _bins(task, labels[order], predictions[order], weights[order], bin_of, bins)
    kept = error > 0
    z = np.where(kept, off / np.where(kept, error, 1.0), 0.0)
    worst = int(np.abs(z).argmax())
    chance = min(1.0, normal_tail(z[worst]) * bins)
    size = math.sqrt(max(float((share * (off**2 - error**2)).sum()), 0.0))
    mean_label = float(np.average(labels, weights=weights))
    unit = min(mean_label, 1 - mean_label) if task.kind == "binary" else float(labels.std())
    if chance > ALPHA or size < OFF * unit:
        return None
    ratio = float(np.average(predictions, weights=weights)) / mean_label if mean_label else float("nan")
    return Finding(
        "miscalibrated",
        "warning",
        task.name,
        f"Predictions of {task.name!r} are off by {size:.4g} on average, {size / unit:.0%} of its "
        f"{'base rate' if task.kind == 'binary' else 'deviation'}; most of all around {mean[worst]:.4g}, where labels are "
        f"{abs(off[worst]):.4g} {'higher' if off[worst] > 0 else 'lower'}.",
        "Look at sampled or weighted negatives, at a shift between training rows and these, and at overfitting; then "
        "recalibrate on held-out rows. Ranking by one task alone does not need it, a score of several tasks does.",
        (task.name,),
        {
            "error": size,
            "ratio": ratio,
            "bins": bins,
            "worst_bin": mean[worst],
            "off_there": off[worst],
            "chance": chance,
        },
    )


def _bins(
    task: Task, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray, bin_of: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each bin: labels less predictions, the standard error of that, the share of the mass, the mean prediction."""
    mass = np.bincount(bin_of, weights, bins)
    safe = np.where(mass > 0, mass, 1.0)
    off = np.bincount(bin_of, weights * (labels - predictions), bins) / safe
    if task.kind == "binary":
        clipped = np.clip(predictions, 1e-6, 1 - 1e-6)
        variance = clipped * (1 - clipped)
    else:
        variance = np.square(labels - predictions - off[bin_of])
    error = np.sqrt(np.bincount(bin_of, np.square(weights) * variance, bins)) / safe
    return off, error, mass / mass.sum(), np.bincount(bin_of, weights * predictions, bins) / safe

"""Whether a number says something, or could have come by chance."""

import math

import numpy as np

from tfmtl.metrics import exact

ALPHA = 1e-3
"""How often a check may speak up on rows that have nothing wrong with them, all its tests together. A report looks at
dozens of numbers: at the usual 0.05 every other report would hold a false alarm."""


def normal_tail(z: float) -> float:
    """The chance of a normal deviate beyond `z` standard deviations on either side."""
    return math.erfc(abs(z) / math.sqrt(2))


def sign_test(successes: int, trials: int) -> float:
    """The chance of so many heads or more in fair throws."""
    return sum(math.comb(trials, k) for k in range(successes, trials + 1)) / 2.0**trials


def chance_of_run(length: int, rate: float, trials: int) -> float:
    """How many runs of at least `length` failures are expected in `trials` that succeed at `rate`; a bound on the chance."""
    return trials * math.exp(length * math.log1p(-rate)) if rate < 1 else 0.0


def auc_error(area: float, positives: int, negatives: int) -> float:
    """The standard error of an AUC.

    Reference:
        Hanley, McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982.
    """
    if not positives or not negatives:
        return float("nan")
    one, two = area / (2 - area), 2 * area * area / (1 + area)
    square = area * (1 - area) + (positives - 1) * (one - area**2) + (negatives - 1) * (two - area**2)
    return math.sqrt(max(square, 0.0) / (positives * negatives))


def association(binary: bool, labels: np.ndarray, predictions: np.ndarray) -> tuple[float, float]:
    """How well predictions order labels, and its standard error: the AUC, or Fisher's z of the correlation of a regression."""
    if binary:
        area = exact.auc(labels, predictions)
        positives = int(labels.sum(dtype="float64"))
        return area, auc_error(area, positives, len(labels) - positives)
    if len(labels) < 4 or not labels.std() or not predictions.std():
        return float("nan"), float("nan")
    correlation = float(np.corrcoef(labels, predictions)[0, 1])
    return math.atanh(np.clip(correlation, -1 + 1e-9, 1 - 1e-9)), 1 / math.sqrt(len(labels) - 3)

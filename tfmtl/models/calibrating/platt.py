"""The line of Platt's scaling (NumPy)."""

import numpy as np

from tfmtl.masked_rows import EPSILON

STEPS, HALVINGS, CONVERGED = 100, 30, 1e-10


def platt_line(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(a, b)` of the least log loss of `sigmoid(a logit(p) + b)`, by Newton's method.

    As in Platt's paper the labels stand for `(P + 1) / (P + 2)` and `1 / (N + 2)`, P and N being the weights of positives and
    negatives, so that rows which a line can tell apart leave it finite.
    """
    clipped = np.clip(probabilities.astype("float64"), EPSILON, 1 - EPSILON)
    logits = np.log(clipped) - np.log1p(-clipped)
    positives, negatives = float(weights[labels == 1].sum()), float(weights[labels == 0].sum())
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    columns = np.stack([logits, np.ones_like(logits)], axis=1)

    def loss(line: np.ndarray) -> float:
        margins = columns @ line
        return float(weights @ (np.logaddexp(0, margins) - targets * margins))

    line = np.array([1.0, 0.0])
    for _ in range(STEPS):
        found = 1 / (1 + np.exp(-columns @ line))
        slope = columns.T @ (weights * (found - targets))
        curvature = (columns.T * (weights * found * (1 - found))) @ columns + 1e-9 * weights.sum() * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        size, before = 1.0, loss(line)
        while loss(line - size * step) > before and size > 0.5**HALVINGS:
            size /= 2
        line = line - size * step
        if np.abs(size * step).max() < CONVERGED:
            break
    return line

"""The lines of Platt's scaling, of two classes and of more (NumPy)."""

import numpy as np

from tfmtl.masked_rows import EPSILON
from tfmtl.models.calibrating.newton import least

RIDGE = 1e-9
"""Beside the curvature, by the rows' weight: what several lines give alike, such as one intercept for all classes, stays put."""


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

    def derivatives(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = 1 / (1 + np.exp(-columns @ line))
        curvature = (columns.T * (weights * found * (1 - found))) @ columns
        return columns.T @ (weights * (found - targets)), curvature + RIDGE * weights.sum() * np.eye(2)

    return least(np.array([1.0, 0.0]), loss, derivatives)


def class_lines(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(a, b_1, ..., b_C)` of the least log loss of `softmax(a log p + b)`, the intercepts with a mean of 0.

    Labels stand for what Platt has them stand for: of class k, with rows of the weight `N_k`, the label says
    `(N_k + 1) / (N_k + C)` of k and `1 / (N_k + C)` of each other class.
    """
    logs = np.log(np.clip(probabilities.astype("float64"), EPSILON, 1.0))
    classes = logs.shape[1]
    truth = labels[:, None] == np.arange(classes)
    of_row = (weights @ truth)[labels.astype(int)][:, None]
    targets = (1 + of_row * truth) / (of_row + classes)

    def said(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The logits, and the logarithm of the sum of their exponentials."""
        logits = lines[0] * logs + lines[1:]
        highest = logits.max(axis=1, keepdims=True)
        return logits, highest + np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))

    def loss(lines: np.ndarray) -> float:
        logits, total = said(lines)
        return float(weights @ (targets * (total - logits)).sum(axis=1))

    def derivatives(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, total = said(lines)
        found = np.exp(logits - total)
        off = weights[:, None] * (found - targets)
        slope = np.concatenate([[(off * logs).sum()], off.sum(axis=0)])
        shares = weights[:, None] * found
        centred = logs - (found * logs).sum(axis=1, keepdims=True)
        curvature = np.empty((classes + 1, classes + 1))
        curvature[0, 0] = (shares * centred**2).sum()
        curvature[0, 1:] = curvature[1:, 0] = (shares * centred).sum(axis=0)
        curvature[1:, 1:] = np.diag(shares.sum(axis=0)) - shares.T @ found
        return slope, curvature + RIDGE * weights.sum() * np.eye(classes + 1)

    lines = least(np.concatenate([[1.0], np.zeros(classes)]), loss, derivatives)
    return np.concatenate([lines[:1], lines[1:] - lines[1:].mean()])

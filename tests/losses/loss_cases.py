"""The losses of tasks, rows for each, and what NumPy makes of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfmtl import losses
from tfmtl.keras_host import keras
from tfmtl.schema import Task

RNG = np.random.default_rng(0)
ROWS = 48
GROUPS = np.repeat(np.arange(12), 4).astype("float32")


class Case(NamedTuple):
    """A task, labels and predictions of it, and the loss of each labelled row."""

    task: Task
    labels: np.ndarray
    predictions: np.ndarray
    reference: Callable[[np.ndarray, np.ndarray], np.ndarray]
    wrong: float = -1.0

    @property
    def given(self) -> np.ndarray:
        """The labels as a dataset gives them."""
        return self.labels if self.task.group is None else np.stack([self.labels, GROUPS], 1)


def entropy(y: Any, p: Any) -> Any:
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


def of_class(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return -np.log(np.take_along_axis(p, y.astype(int)[:, None], 1)[:, 0])


def smoothed(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    target = np.eye(4)[y.astype(int)] * 0.9 + 0.1 / 4
    return -(target * np.log(p)).sum(1)


def focal(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    return (1 - np.where(y == 1, p, 1 - p)) ** 2 * entropy(y, p)


def balanced(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    effective = (1 - 0.9 ** np.array([30.0, 5.0])) / (1 - 0.9)
    weights = (1 / effective) * 2 / (1 / effective).sum()
    return weights[y.astype(int)] * entropy(y, p)


def coral(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    above = 1 - np.cumsum(p, 1)[:, :-1]
    return entropy(y[:, None] > np.arange(3), above).sum(1)


def tweedie(y: np.ndarray, m: np.ndarray) -> np.ndarray:
    return m**0.7 / 0.7 - y * m**-0.3 / -0.3


def pinball(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    over, levels = y[:, None] - p, np.array([0.1, 0.5, 0.9])
    return np.where(over > 0, levels * over, (levels - 1) * over).mean(1)


def zero_inflated(y: np.ndarray, columns: np.ndarray) -> np.ndarray:
    mean, p, s = columns.T
    mu = np.log(mean / p) - s**2 / 2
    safe = np.where(y > 0, y, 1)
    density = np.exp(-((np.log(safe) - mu) ** 2) / (2 * s**2)) / (safe * s * np.sqrt(2 * np.pi))
    return entropy(y > 0, p) - np.where(y > 0, np.log(density), 0)


def watched(y: np.ndarray, odds: np.ndarray) -> np.ndarray:
    p = odds / (1 + odds)
    return -(y * np.log(p) + (y == 0) * np.log(1 - p))


def simplex(columns: int) -> np.ndarray:
    return RNG.dirichlet(np.ones(columns), ROWS).astype("float32")


BINARY = RNG.integers(0, 2, ROWS).astype("float32")
CLASSES = RNG.integers(0, 4, ROWS).astype("float32")
AMOUNTS = (RNG.integers(0, 2, ROWS) * RNG.gamma(2.0, 2.0, ROWS)).astype("float32")
PROBABILITIES = RNG.uniform(0.05, 0.95, (ROWS, 1)).astype("float32")
MEANS = RNG.uniform(0.3, 4, (ROWS, 1)).astype("float32")
LTV = np.concatenate([MEANS, PROBABILITIES, RNG.uniform(0.5, 1.5, (ROWS, 1)).astype("float32")], 1)
RISING = np.sort(RNG.normal(size=(ROWS, 3)), axis=1).astype("float32")
POISSON = "poisson"

CASES = {
    "focal": Case(Task("t", loss=keras.losses.BinaryFocalCrossentropy()), BINARY, PROBABILITIES, focal),
    "class balanced": Case(Task("t", loss=losses.ClassBalanced((30, 5), beta=0.9)), BINARY, PROBABILITIES, balanced),
    "classes": Case(Task("t", "multiclass", num_classes=4), CLASSES, simplex(4), of_class, 4.0),
    "smoothed": Case(
        Task("t", "multiclass", num_classes=4, loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1)),
        CLASSES,
        simplex(4),
        smoothed,
        0.5,
    ),
    "sparse": Case(
        Task("t", "multiclass", num_classes=4, loss="sparse_categorical_crossentropy"), CLASSES, simplex(4), of_class
    ),
    "coral": Case(
        Task("t", "multiclass", num_classes=4, ordered=True, loss=losses.Coral()), CLASSES, simplex(4), coral, 7.0
    ),
    "poisson": Case(Task("t", "regression", loss=POISSON), AMOUNTS, MEANS, lambda y, m: m - y * np.log(m)),
    "tweedie": Case(Task("t", "regression", loss=losses.Tweedie(1.3)), AMOUNTS, MEANS, tweedie),
    "quantile": Case(
        Task("t", "regression", loss=losses.Quantile((0.1, 0.5, 0.9))), AMOUNTS, RISING, pinball, float("inf")
    ),
    "zero inflated": Case(Task("t", "regression", loss=losses.ZeroInflatedLogNormal()), AMOUNTS, LTV, zero_inflated),
    "watch time": Case(Task("t", "regression", loss=losses.WeightedLogistic()), AMOUNTS, MEANS, watched),
}


def scores(task: Task, predictions: np.ndarray) -> np.ndarray:
    p = predictions[:, 0].astype("float64")
    return np.log(p / (1 - p)) if task.kind == "binary" else p


def pairwise(case: Case, labels: np.ndarray, weights: np.ndarray) -> float:
    s, total, pairs = scores(case.task, case.predictions), 0.0, 0
    for i in range(ROWS):
        for j in range(ROWS):
            if GROUPS[i] == GROUPS[j] and labels[i] > labels[j]:
                total, pairs = total + weights[i] * weights[j] * np.log1p(np.exp(s[j] - s[i])), pairs + 1
    return total / pairs


def listwise(case: Case, labels: np.ndarray, weights: np.ndarray) -> float:
    s, total, known = scores(case.task, case.predictions), 0.0, ~np.isnan(labels)
    for i in np.flatnonzero(known):
        rivals = known & (GROUPS[i] == GROUPS)
        total -= weights[i] * labels[i] * (s[i] - np.log(np.exp(s[rivals]).sum()))
    return total / labels[known].sum()


RANKING = {
    "pairwise": (Case(Task("t", loss=losses.PairwiseLogistic(), group="user"), BINARY, PROBABILITIES, None), pairwise),
    "listwise": (Case(Task("t", loss=losses.ListwiseSoftmax(), group="user"), BINARY, PROBABILITIES, None), listwise),
    "graded": (
        Case(Task("t", "regression", loss=losses.PairwiseLogistic(), group="user"), AMOUNTS, MEANS, None),
        pairwise,
    ),
}

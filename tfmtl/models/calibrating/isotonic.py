"""The points of an isotonic regression (NumPy)."""

import numpy as np


def isotonic_points(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(2, K)`: mean prediction and rate of each pool of the rising step curve with the least squared error, both rising.

    Neighbours whose rates fall are pooled until none do. A step curve jumps between neighbouring rows, where a rounded
    prediction would jump too; lines from the middle of a pool to that of the next do not.
    """
    order = np.argsort(probabilities, kind="stable")
    ordered, of_rows = probabilities[order].astype("float64"), weights[order].astype("float64")
    first = np.unique(ordered, return_index=True)[1]
    sums = np.stack([of_rows * labels[order], of_rows * ordered, of_rows])
    ties = np.add.reduceat(sums, first, axis=1)  # of equal predictions: labels, predictions and weights
    pools: list[tuple[float, float, float]] = []
    for pool in zip(*ties.tolist(), strict=True):
        while pools and pools[-1][0] * pool[2] >= pool[0] * pools[-1][2]:  # the rate before is not below
            pool = tuple(sum(pair) for pair in zip(pools.pop(), pool, strict=True))
        pools.append(pool)
    positives, places, held = np.array(pools).T
    points = np.stack([places / held, positives / held])
    points = points[:, np.concatenate([[True], np.diff(points[0].astype("float32")) > 0])]
    return points if points.shape[1] > 1 else np.array([[0.0, 1.0], [points[1, 0]] * 2])

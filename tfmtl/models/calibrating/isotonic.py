"""The points of an isotonic regression (NumPy)."""

import numpy as np

SOFT = 0.1
"""What share of a pool, from its ends to its mean, the lines to its neighbours take."""


def isotonic_points(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(2, K)`: predictions and rates, both rising, of the rising step curve with the least squared error.

    Neighbours whose rates fall are pooled until none do. Each pool gives a point near its first and one near its last
    prediction, both with its rate. A step curve jumps between neighbouring rows, and a rounded prediction would jump with
    it; so the points lie a tenth of the way towards the middle of the pool, and lines join them.
    """
    order = np.argsort(probabilities, kind="stable")
    ordered, of_rows = probabilities[order].astype("float64"), weights[order].astype("float64")
    places, first = np.unique(ordered, return_index=True)
    sums = np.add.reduceat(np.stack([of_rows * labels[order], of_rows * ordered, of_rows]), first, axis=1)
    pools: list[tuple[float, ...]] = []  # positives, predictions and rows, summed up; the first and the last prediction
    for pool in zip(*sums.tolist(), places.tolist(), places.tolist(), strict=True):
        while pools and pools[-1][0] * pool[2] >= pool[0] * pools[-1][2]:  # the rate before is not below
            before = pools.pop()
            pool = (*(a + b for a, b in zip(before[:3], pool[:3], strict=True)), before[3], pool[4])
        pools.append(pool)
    positives, predictions, rows, begin, end = np.array(pools).T
    rates, middles = positives / rows, predictions / rows
    ends = np.stack([begin + SOFT * (middles - begin), end + SOFT * (middles - end)], axis=1)
    points = np.stack([ends.ravel(), np.repeat(rates, 2)])
    points = points[:, np.concatenate([[True], np.diff(points[0].astype("float32")) > 0])]
    return points if points.shape[1] > 1 else np.array([[0.0, 1.0], [points[1, 0]] * 2])

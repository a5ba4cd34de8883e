"""The points of an isotonic regression (NumPy)."""

import numpy as np

SOFT = 0.05
"""What share of a pool's rows, at either end, lie on the lines to its neighbours."""


def isotonic_points(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(2, K)`: predictions and means of labels, both rising, of the rising step curve with the least squared error.

    Neighbours whose means fall are pooled until none do. Each pool gives a point near its first and one near its last
    prediction, both with its mean. A step curve jumps between neighbouring rows, and a rounded prediction would jump with
    it; so a twentieth of the rows lies outside of each point, and lines join them. By rows, since a pool of skewed predictions
    may hold most of them within a small part of its length.
    """
    order = np.argsort(predictions, kind="stable")
    ordered, of_rows = predictions[order].astype("float64"), weights[order].astype("float64")
    places, first = np.unique(ordered, return_index=True)
    summed, rows = np.add.reduceat(np.stack([of_rows * labels[order], of_rows]), first, axis=1)
    pools: list[tuple[float, float, int, int]] = []  # labels and rows, summed up; the first and the last place
    for place, sums in enumerate(zip(summed.tolist(), rows.tolist(), strict=True)):
        pool = (*sums, place, place)
        while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:  # the mean before is not below
            before = pools.pop()
            pool = (before[0] + pool[0], before[1] + pool[1], before[2], place)
        pools.append(pool)
    means = np.array([total / count for total, count, _, _ in pools])
    ends = [_ends(places[begin : end + 1], rows[begin : end + 1]) for _, _, begin, end in pools]
    points = np.stack([np.concatenate(ends), np.repeat(means, 2)])
    points = points[:, np.concatenate([[True], np.diff(points[0].astype("float32")) > 0])]
    return points if points.shape[1] > 1 else np.array([[0.0, 1.0], [points[1, 0]] * 2])


def _ends(places: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The two points of a pool, from the predictions in it and how many rows have each."""
    before = np.cumsum(rows) - rows
    return np.interp([SOFT * before[-1], (1 - SOFT) * before[-1]], before, places)

"""The points of an isotonic regression (NumPy)."""

import numpy as np


def isotonic_points(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`(2, K)`: predictions and rates, both rising, of the rising step curve with the least squared error.

    Neighbours whose rates fall are pooled until none do; a pool keeps its first and its last prediction.
    """
    order = np.argsort(probabilities, kind="stable")
    places, first = np.unique(probabilities[order], return_index=True)
    mass = np.add.reduceat(weights[order].astype("float64"), first)
    sums = np.add.reduceat((weights * labels)[order].astype("float64"), first)
    places, mass, sums = (column[mass > 0] for column in (places, mass, sums))
    pools: list[list[float]] = []  # the sum and the mass of each, its first and last place
    for place, own_mass, own_sum in zip(range(len(places)), mass.tolist(), sums.tolist(), strict=True):
        pools.append([own_sum, own_mass, place, place])
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] >= pools[-1][0] * pools[-2][1]:
            last = pools.pop()
            pools[-1] = [pools[-1][0] + last[0], pools[-1][1] + last[1], pools[-1][2], last[3]]
    ends = [(places[int(end)], total / held) for total, held, *both in pools for end in dict.fromkeys(both)]
    points = np.array(ends, "float64").T
    points = points[:, np.concatenate([[True], np.diff(points[0].astype("float32")) > 0])]
    return points if points.shape[1] > 1 else np.array([[0.0, 1.0], [points[1, 0]] * 2])

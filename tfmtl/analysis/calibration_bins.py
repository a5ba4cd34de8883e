"""How predictions and labels agree, from the lowest predictions to the highest."""

from typing import NamedTuple

import numpy as np


class Bin(NamedTuple):
    """Rows with predictions next to each other: the mean prediction, the mean label, and how many rows there are."""

    prediction: float
    label: float
    rows: int


def calibration_bins(
    labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None = None, *, bins: int = 10
) -> list[Bin]:
    """Sorts rows by their prediction and cuts them into bins of equally many.

    Equal predictions are never torn apart, so there can be fewer bins. Rows with a label of NaN are left out.

    Args:
        labels: `(N,)`.
        predictions: `(N,)`.
        weights: `(N,)`, of the rows in the means; None counts them alike.
        bins: how many, at most.

    Example:

    >>> import numpy as np
    >>> from tfmtl.analysis.calibration_bins import calibration_bins
    >>> calibration_bins(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.3, 0.6, 0.8]), bins=2)
    [Bin(prediction=0.2, label=0.0, rows=2), Bin(prediction=0.7, label=1.0, rows=2)]
    """
    known = np.flatnonzero(~np.isnan(labels))
    order = known[np.argsort(predictions[known], kind="stable")]
    if not len(order):
        return []
    ordered = predictions[order].astype("float64")
    # A bin begins at the first row of a tie.
    cuts = np.unique(np.searchsorted(ordered, ordered[len(order) * np.arange(bins) // bins]))
    found = []
    for rows in np.split(order, cuts[1:]):
        of_rows = np.ones(len(rows)) if weights is None else weights[rows]
        if of_rows.any():
            mean_prediction = float(np.average(predictions[rows].astype("float64"), weights=of_rows))
            found.append(Bin(mean_prediction, float(np.average(labels[rows], weights=of_rows)), len(rows)))
    return found

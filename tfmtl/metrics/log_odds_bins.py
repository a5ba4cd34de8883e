"""Positives and negatives, counted in bins of the log-odds of their predictions."""

import math

from tfmtl.keras_host import ops
from tfmtl.typing import Tensor

LIMIT = 20.0
"""Log-odds beyond this (probabilities below 2e-9) share the outermost bins."""


def counts_by_log_odds(labels: Tensor, predictions: Tensor, weights: Tensor, num_bins: int) -> Tensor:
    """The weights of negatives and positives in each of `num_bins` equal bins of the log-odds, `(2, num_bins)`.

    Columns are `(B,)`, or of several tasks `(T, B)`; then the counts are `(T, 2, num_bins)`. A prediction without log-odds
    (NaN, or outside [0, 1]) makes a count NaN.
    """
    log_odds = ops.log(predictions) - ops.log(1.0 - predictions)
    undefined = ops.isnan(log_odds)
    position = ops.clip((log_odds + LIMIT) * (num_bins / (2 * LIMIT)), 0, num_bins - 1)
    bins = ops.cast(ops.where(undefined, 0.0, position), "int32")
    # A prediction without log-odds makes the count itself NaN: it must show in the result.
    weights = ops.where(undefined, log_odds, weights)
    tasks = tuple(labels.shape)[:-1]
    if tasks:  # each has bins of its own in the one row that is counted
        bins = bins + ops.expand_dims(2 * num_bins * ops.arange(tasks[0], dtype="int32"), -1)
    counts = ops.segment_sum(
        ops.reshape(ops.stack([weights * (1.0 - labels), weights * labels]), (-1,)),
        ops.reshape(ops.stack([bins, bins + num_bins]), (-1,)),
        2 * num_bins * math.prod(tasks),
    )
    return ops.reshape(counts, (*tasks, 2, num_bins))

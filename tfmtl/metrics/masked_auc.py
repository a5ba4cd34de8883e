"""Area under the ROC curve, streamed through bins."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import ops, register
from tfmtl.masked_rows import MaskedRows
from tfmtl.metrics.masked_metric import MaskedMetric
from tfmtl.typing import TaskKind, Tensor

LIMIT = 20.0
"""Log-odds beyond this (probabilities below 2e-9) share the outermost bins."""


@register
class MaskedAUC(MaskedMetric):
    """Estimates the area under the ROC curve over the rows whose label is not NaN.

    Positives and negatives are counted in equal bins of the log-odds of the prediction:

    ```
    AUC = sum_b P_b (N_1 + ... + N_{b-1} + N_b / 2) / (P N)        P_b, N_b: weight of positives, negatives in bin b
    ```

    The log-odds spread out rare and near-certain events alike, so tiny probabilities are told apart as well as large
    ones: with the default, bins are 0.0024 wide, a quarter of a percent of the odds. Predictions that share a bin count
    as ties, so the result is off by at most half the chance that a random positive and a random negative share a bin:

    ```
    |error| <= sum_b P_b N_b / (2 P N)
    ```

    which is below 0.001 where no bin holds more than 0.2 % of the positives (or none more than 0.2 % of the negatives).
    Within a bin the order is close to chance, so the error is mostly far smaller. `tfmtl.evaluate` gives exact figures.

    A step costs one scatter of the batch and one pass over the bins, however fine they are: no threshold is compared
    with the batch. State: `16 * num_bins` bytes (256 KiB), and never more.

    Args:
        num_bins: bins between log-odds of -20 and 20.
        name: of the metric.
        dtype: as Keras passes it on.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`. `y_true` is 0, 1 or NaN; `y_pred` a probability.

    Output shape:
        A scalar. NaN without a positive or without a negative, and when a labelled row's prediction is NaN or not in
        [0, 1].

    Raises:
        ValueError: fewer than 2 bins; what `MaskedMetric` refuses.

    Example:

    >>> from tfmtl.metrics import MaskedAUC
    >>> auc = MaskedAUC()
    >>> auc.update_state([0.0, 1.0, float("nan"), 1.0], [[0.2], [0.7], [0.9], [0.1]])
    >>> float(auc.result())
    0.5
    """

    kind: TaskKind = "binary"
    _direction = "up"  # what Keras 3's callbacks read where no `mode` is given

    def __init__(self, num_bins: int = 16_384, name: str = "auc", dtype: Any = None):
        self.num_bins = check_count("num_bins", num_bins, least=2)
        super().__init__((2, self.num_bins), name, dtype)

    def measure(self, rows: MaskedRows) -> Tensor:
        log_odds = ops.log(rows.predictions) - ops.log(1.0 - rows.predictions)
        undefined = ops.isnan(log_odds)
        position = ops.clip((log_odds + LIMIT) * (self.num_bins / (2 * LIMIT)), 0, self.num_bins - 1)
        bins = ops.cast(ops.where(undefined, 0.0, position), "int32")
        # A prediction without log-odds makes the count itself NaN: it must show in the result.
        weights = ops.where(undefined, log_odds, rows.weights)
        negatives, positives = weights * (1.0 - rows.labels), weights * rows.labels
        counts = ops.segment_sum(
            ops.concatenate([negatives, positives]), ops.concatenate([bins, bins + self.num_bins]), 2 * self.num_bins
        )
        return ops.reshape(counts, (2, self.num_bins))

    def figure(self, sums: Tensor) -> Tensor:
        negatives, positives = ops.unstack(sums)
        below = ops.cumsum(negatives) - negatives / 2
        return ops.sum(positives * below) / (ops.sum(positives) * ops.sum(negatives))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins}

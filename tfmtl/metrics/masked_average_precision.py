"""Average precision, streamed through bins."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import ops, register
from tfmtl.masked_rows import MaskedRows
from tfmtl.metrics.log_odds_bins import counts_by_log_odds
from tfmtl.metrics.masked_metric import MaskedMetric
from tfmtl.typing import TaskKind, Tensor


@register
class MaskedAveragePrecision(MaskedMetric):
    """Estimates the area under the precision-recall curve, as average precision, over the rows whose label is not NaN.

    ```
    AP = sum_b P_b / P * (P_b + ... + P_B) / (P_b + ... + P_B + N_b + ... + N_B)        bins of the log-odds, as in `MaskedAUC`
    ```

    Predictions that share a bin count as equal, which scikit-learn's `average_precision_score` counts as one threshold too.
    Where positives are rare it moves with the head of the ranking, which an AUC hardly sees.

    Args:
        num_bins: bins between log-odds of -20 and 20.
        name: of the metric.
        dtype: as Keras passes it on.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`. `y_true` is 0, 1 or NaN; `y_pred` a probability.

    Output shape:
        A scalar; NaN without a positive, and when a labelled row's prediction is NaN or not in [0, 1].

    Raises:
        ValueError: fewer than 2 bins; what `MaskedMetric` refuses.

    Example:

    >>> from tfmtl.metrics import MaskedAveragePrecision
    >>> metric = MaskedAveragePrecision()
    >>> metric.update_state([0.0, 1.0, float("nan"), 1.0], [[0.2], [0.7], [0.9], [0.1]])
    >>> round(float(metric.result()), 4)
    0.8333
    """

    kind: TaskKind = "binary"
    elementwise = True
    _direction = "up"  # what Keras 3's callbacks read where no `mode` is given

    def __init__(self, num_bins: int = 16_384, name: str = "ap", dtype: Any = None):
        self.num_bins = check_count("num_bins", num_bins, least=2)
        super().__init__((2, self.num_bins), name, dtype)

    def measure(self, rows: MaskedRows) -> Tensor:
        return counts_by_log_odds(rows.labels, rows.predictions, rows.weights, self.num_bins)

    def figure(self, sums: Tensor) -> Tensor:
        negatives, positives = ops.unstack(sums)
        found = ops.flip(ops.cumsum(ops.flip(positives, axis=0)), axis=0)
        listed = found + ops.flip(ops.cumsum(ops.flip(negatives, axis=0)), axis=0)
        precision = found / ops.where(ops.equal(listed, 0), 1, listed)
        return ops.sum(positives * precision) / ops.sum(positives)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins}

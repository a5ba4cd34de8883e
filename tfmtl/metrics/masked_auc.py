"""Area under the ROC curve, streamed through bins."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import ops, register
from tfmtl.masked_rows import MaskedRows
from tfmtl.metrics.log_odds_bins import counts_by_log_odds
from tfmtl.metrics.masked_metric import MaskedMetric
from tfmtl.typing import TaskKind, Tensor


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

    Of classes it is the mean over the classes of the area of each against all others (macro, one versus rest).

    A step costs one scatter of the batch and one pass over the bins, however fine they are: no threshold is compared
    with the batch. State: `16 * num_bins` bytes (256 KiB), and never more.

    Args:
        num_bins: bins between log-odds of -20 and 20.
        name: of the metric.
        dtype: as Keras passes it on.
        num_classes: of a multiclass task; None is a binary one.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`. `y_true` is 0, 1 or NaN; `y_pred` a probability. With
        `num_classes` `y_true` is the index of a class or NaN, and `y_pred` `(B, num_classes)`.

    Output shape:
        A scalar. NaN without a positive or without a negative (of any class), and when a labelled row's prediction is NaN or not in
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
    elementwise = True
    _direction = "up"  # what Keras 3's callbacks read where no `mode` is given

    def __init__(self, num_bins: int = 16_384, name: str = "auc", dtype: Any = None, num_classes: int | None = None):
        self.num_bins = check_count("num_bins", num_bins, least=2)
        self.num_classes = None if num_classes is None else check_count("num_classes", num_classes, least=2)
        if num_classes is not None:
            self.kind = "multiclass"
        super().__init__((2, self.num_bins) if num_classes is None else (num_classes, 2, self.num_bins), name, dtype)

    @property
    def width(self) -> int:
        return self.num_classes or 1

    def measure(self, rows: MaskedRows) -> Tensor:
        if self.num_classes is None:
            return counts_by_log_odds(rows.labels, rows.predictions, rows.weights, self.num_bins)
        # A wrong label of a compiled step is NaN, and must show.
        weights = ops.where(ops.isnan(rows.labels), rows.labels, rows.weights)
        per_class = [
            counts_by_log_odds(
                ops.cast(ops.equal(rows.labels, each), "float32"), rows.predictions[:, each], weights, self.num_bins
            )
            for each in range(self.num_classes)
        ]
        return ops.stack(per_class)

    def figure(self, sums: Tensor) -> Tensor:
        negatives, positives = ops.unstack(sums, 2, axis=-2)
        below = ops.cumsum(negatives, axis=-1) - negatives / 2
        pairs = ops.sum(positives, axis=-1) * ops.sum(negatives, axis=-1)
        areas = ops.sum(positives * below, axis=-1) / pairs
        return areas if self.num_classes is None else ops.mean(areas)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "num_bins": self.num_bins}
        return config if self.num_classes is None else {**config, "num_classes": self.num_classes}

"""How far probabilities are from what happens, in bins of predictions."""

from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_count, check_option
from tfmtl.keras_host import ops, register
from tfmtl.masked_rows import MaskedRows
from tfmtl.metrics.log_odds_bins import LIMIT
from tfmtl.metrics.masked_metric import MaskedMetric
from tfmtl.typing import TaskKind, Tensor

Cut: TypeAlias = Literal["mass", "width"]

FINE = 4096
"""Bins of the log-odds that are put together to bins of equal mass."""


@register
class MaskedCalibrationError(MaskedMetric):
    """Averages, over bins of the prediction, how far the mean label is from the mean prediction (ECE).

    ```
    ECE = sum_b w_b / w * |mean label in b - mean prediction in b|
    ```

    Bins of equal `"mass"` hold as many rows each, so that rare events show; they are put together from 4,096 bins of the
    log-odds, and differ from `evaluate`'s exact ones by at most a fine bin. Bins of equal `"width"` cut [0, 1].

    Args:
        num_bins: how many.
        cut: by `"mass"` or by `"width"`.
        name: of the metric.
        dtype: as Keras passes it on.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`. `y_true` is 0, 1 or NaN; `y_pred` a probability.

    Output shape:
        A scalar; NaN without a labelled row.

    Raises:
        ValueError: no bin, an unknown `cut`; what `MaskedMetric` refuses.

    Example:

    >>> from tfmtl.metrics import MaskedCalibrationError
    >>> metric = MaskedCalibrationError(num_bins=2, cut="width")
    >>> metric.update_state([0.0, 1.0, float("nan")], [[0.25], [0.75], [0.9]])
    >>> float(metric.result())
    0.25

    Reference:
        Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015, by width;
        Nixon et al., "Measuring Calibration in Deep Learning", CVPR Workshops 2019, arXiv:1904.01685, by mass.
    """

    kind: TaskKind = "binary"
    _direction = "down"  # what Keras 3's callbacks read where no `mode` is given

    def __init__(self, num_bins: int = 10, cut: Cut = "mass", name: str = "ece", dtype: Any = None):
        self.num_bins = check_count("num_bins", num_bins)
        check_option("cut", cut, Cut)
        self.cut = cut
        super().__init__((3, FINE if cut == "mass" else self.num_bins), name, dtype)

    def measure(self, rows: MaskedRows) -> Tensor:
        bins = self.sums.shape[1]
        place = rows.predictions
        if self.cut == "mass":
            place = (ops.log(place) - ops.log(1.0 - place) + LIMIT) / (2 * LIMIT)
        undefined = ops.isnan(place)
        place = ops.cast(ops.clip(ops.where(undefined, 0.0, place) * bins, 0, bins - 1), "int32")
        weights = rows.weights
        columns = ops.stack([weights, weights * rows.labels, weights * rows.predictions], axis=-1)
        return ops.transpose(ops.segment_sum(columns, place, bins))

    def figure(self, sums: Tensor) -> Tensor:
        if self.cut == "mass":
            mass = ops.cumsum(sums[0]) - sums[0] / 2
            total = ops.sum(sums[0])
            place = ops.clip(mass / ops.where(total > 0, total, 1) * self.num_bins, 0, self.num_bins - 1)
            joined = ops.segment_sum(ops.transpose(sums), ops.cast(place, "int32"), self.num_bins)
            sums = ops.transpose(joined)
        return ops.sum(ops.abs(sums[1] - sums[2])) / ops.sum(sums[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins, "cut": self.cut}

"""Mean prediction over mean label."""

from typing import Any

from tfmtl.keras_host import ops, register
from tfmtl.masked_rows import MaskedRows
from tfmtl.metrics.masked_metric import MaskedMetric, sums_of
from tfmtl.typing import TaskKind, Tensor


@register
class MaskedCalibration(MaskedMetric):
    """Divides the mean prediction by the mean label, over the rows whose label is not NaN.

    ```
    calibration = sum_i weight_i * p_i / sum_i weight_i * y_i
    ```

    1 is calibrated; above 1 the model promises more than comes.

    Args:
        name: of the metric.
        dtype: as Keras passes it on.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`; a missing label is NaN.

    Output shape:
        A scalar; NaN where the labels add up to 0.

    Example:

    >>> from tfmtl.metrics import MaskedCalibration
    >>> metric = MaskedCalibration()
    >>> metric.update_state([1.0, 0.0, float("nan")], [[0.5], [0.25], [0.9]])
    >>> float(metric.result())
    0.75
    """

    kind: TaskKind = "binary"
    elementwise = True

    def __init__(self, name: str = "calibration", dtype: Any = None):
        super().__init__((2,), name, dtype)

    def measure(self, rows: MaskedRows) -> Tensor:
        return sums_of(rows.weights * rows.predictions, rows.weights * rows.labels)

    def figure(self, sums: Tensor) -> Tensor:
        # 0 / 0 is NaN, and so must be what else would be infinite.
        predicted, observed = ops.unstack(sums, 2)
        return ops.where(observed == 0, float("nan"), predicted / observed)

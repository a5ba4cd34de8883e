"""Root of the mean squared error over the labelled rows."""

from typing import Any

from tfmtl.keras_host import ops, register
from tfmtl.masked_rows import MaskedRows
from tfmtl.metrics.masked_metric import MaskedMetric, sums_of
from tfmtl.typing import Tensor


@register
class MaskedRootMeanSquaredError(MaskedMetric):
    """Takes the root of the mean squared error over the rows whose label is not NaN.

    ```
    RMSE = sqrt(sum_i weight_i * (y_i - p_i)^2 / sum_i weight_i)
    ```

    Args:
        name: of the metric.
        dtype: as Keras passes it on.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`; a missing label is NaN.

    Output shape:
        A scalar; NaN without a labelled row.

    Example:

    >>> from tfmtl.metrics import MaskedRootMeanSquaredError
    >>> metric = MaskedRootMeanSquaredError()
    >>> metric.update_state([3.0, float("nan")], [[1.0], [7.0]])
    >>> float(metric.result())
    2.0
    """

    elementwise = True
    _direction = "down"  # what Keras 3's callbacks read where no `mode` is given

    def __init__(self, name: str = "rmse", dtype: Any = None):
        super().__init__((2,), name, dtype)

    def measure(self, rows: MaskedRows) -> Tensor:
        errors = rows.weights * ops.square(rows.labels - rows.predictions)
        return sums_of(errors, rows.weights)

    def figure(self, sums: Tensor) -> Tensor:
        squares, rows = ops.unstack(sums, 2)
        return ops.sqrt(squares / rows)

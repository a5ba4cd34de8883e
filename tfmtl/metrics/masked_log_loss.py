"""Mean cross-entropy over the labelled rows."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import ops, register
from tfmtl.masked_rows import MaskedRows, class_crossentropy, crossentropy
from tfmtl.metrics.masked_metric import MaskedMetric, sums_of
from tfmtl.typing import TaskKind, Tensor


@register
class MaskedLogLoss(MaskedMetric):
    """Averages binary cross-entropy over the rows whose label is not NaN, over all batches and replicas.

    ```
    log loss = -sum_i weight_i * (y_i log p_i + (1 - y_i) log(1 - p_i)) / sum_i weight_i
    ```

    The mean over rows, where the loss that Keras logs is a mean over batches. `p` is read as lying in
    `[1e-7, 1 - 1e-7]`.

    Of classes it is the cross-entropy of the label's class.

    Args:
        name: of the metric.
        dtype: as Keras passes it on.
        num_classes: of a multiclass task; None is a binary one.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`; a missing label is NaN.

    Output shape:
        A scalar; NaN without a labelled row.

    Example:

    >>> from tfmtl.metrics import MaskedLogLoss
    >>> metric = MaskedLogLoss()
    >>> metric.update_state([1.0, float("nan")], [[0.5], [0.9]])
    >>> round(float(metric.result()), 4)
    0.6931
    """

    kind: TaskKind = "binary"
    elementwise = True
    _direction = "down"  # what Keras 3's callbacks read where no `mode` is given

    def __init__(self, name: str = "logloss", dtype: Any = None, num_classes: int | None = None):
        self.num_classes = None if num_classes is None else check_count("num_classes", num_classes, least=2)
        if num_classes is not None:
            self.kind = "multiclass"
        super().__init__((2,), name, dtype)

    @property
    def width(self) -> int:
        return self.num_classes or 1

    def measure(self, rows: MaskedRows) -> Tensor:
        of_rows = crossentropy if self.num_classes is None else class_crossentropy
        losses = rows.weights * of_rows(rows.labels, rows.predictions)
        return sums_of(losses, rows.weights)

    def figure(self, sums: Tensor) -> Tensor:
        loss, rows = ops.unstack(sums, 2)
        return loss / rows

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config if self.num_classes is None else {**config, "num_classes": self.num_classes}

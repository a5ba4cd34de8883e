"""Log loss over that of a model that always answers the base rate."""

from typing import Any

from tfmtl.keras_host import ops, register
from tfmtl.masked_rows import MaskedRows, crossentropy
from tfmtl.metrics.masked_metric import MaskedMetric, sums_of
from tfmtl.typing import TaskKind, Tensor


@register
class MaskedNormalizedEntropy(MaskedMetric):
    """Divides the log loss by the entropy of the labels' mean, over the rows whose label is not NaN.

    ```
    NE = logloss / -(b log b + (1 - b) log(1 - b))        b: mean of the labels
    ```

    Below 1 the model knows more than the base rate; unlike a log loss it can be compared between tasks and days.

    Args:
        name: of the metric.
        dtype: as Keras passes it on.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`. `y_true` is 0, 1 or NaN; `y_pred` a probability.

    Output shape:
        A scalar; NaN without labels of both classes.

    Example:

    >>> from tfmtl.metrics import MaskedNormalizedEntropy
    >>> metric = MaskedNormalizedEntropy()
    >>> metric.update_state([1.0, 0.0, float("nan")], [[0.5], [0.5], [0.9]])
    >>> round(float(metric.result()), 4)
    1.0

    Reference:
        He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014, section 3.
    """

    kind: TaskKind = "binary"
    elementwise = True
    _direction = "down"  # what Keras 3's callbacks read where no `mode` is given

    def __init__(self, name: str = "ne", dtype: Any = None):
        super().__init__((3,), name, dtype)

    def measure(self, rows: MaskedRows) -> Tensor:
        losses = rows.weights * crossentropy(rows.labels, rows.predictions)
        return sums_of(losses, rows.weights, rows.weights * rows.labels)

    def figure(self, sums: Tensor) -> Tensor:
        loss, rows, positives = ops.unstack(sums, 3)
        rate = positives / rows
        return loss / rows / -(rate * ops.log(rate) + (1 - rate) * ops.log(1 - rate))

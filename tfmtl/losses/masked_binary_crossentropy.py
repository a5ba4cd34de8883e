"""Cross-entropy of a probability, over the rows that have a label."""

from tfmtl.keras_host import register
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.masked_rows import crossentropy
from tfmtl.typing import TaskKind, Tensor


@register
class MaskedBinaryCrossentropy(MaskedLoss):
    """Averages binary cross-entropy over the rows of the global batch whose label is not NaN.

    ```
    L = -sum_i valid_i * weight_i * (y_i log p_i + (1 - y_i) log(1 - p_i)) / sum_i valid_i
    ```

    A row without a label has loss 0 and gradient 0; without any labelled row the loss is 0. Under a `tf.distribute`
    strategy both sums run over all replicas. Computed in float32, with `p` read as lying in `[1e-7, 1 - 1e-7]`.

    Args:
        name: of the loss.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`. `y_true` is 0, 1 or NaN; `y_pred` a probability.

    Output shape:
        A scalar. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: as `MaskedLoss`: a label that is not 0, 1 or NaN, for one.

    Example:

    >>> from tfmtl.losses import MaskedBinaryCrossentropy
    >>> loss = MaskedBinaryCrossentropy()
    >>> round(float(loss([1.0, float("nan")], [[0.5], [0.9]])), 4)
    0.6931

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, equation 9: a task's loss is the mean over its
        own sample space. The paper says nothing of several devices; here the sample space is that of the global batch.
    """

    kind: TaskKind = "binary"
    elementwise = True

    def __init__(self, name: str = "masked_binary_crossentropy"):
        super().__init__(name)

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        return crossentropy(labels, predictions)

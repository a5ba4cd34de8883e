"""Squared error of a value, over the rows that have a label."""

from tfmtl.keras_host import ops, register
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.typing import Tensor


@register
class MaskedMeanSquaredError(MaskedLoss):
    """Averages the squared error over the rows of the global batch whose label is not NaN.

    ```
    L = sum_i valid_i * weight_i * (y_i - p_i)^2 / sum_i valid_i
    ```

    A row without a label has loss 0 and gradient 0; without any labelled row the loss is 0. Under a `tf.distribute`
    strategy both sums run over all replicas. Computed in float32.

    Args:
        name: of the loss.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`; a missing label is NaN.

    Output shape:
        A scalar. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: as `MaskedLoss`: a label that is infinite or beyond 1e16, for one, whose square would make every
            weight NaN.

    Example:

    >>> from tfmtl.losses import MaskedMeanSquaredError
    >>> loss = MaskedMeanSquaredError()
    >>> float(loss([3.0, float("nan")], [[1.0], [7.0]]))
    4.0

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, equation 9, as in `MaskedBinaryCrossentropy`.
    """

    elementwise = True

    def __init__(self, name: str = "masked_mean_squared_error"):
        super().__init__(name)

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        return ops.square(labels - predictions)

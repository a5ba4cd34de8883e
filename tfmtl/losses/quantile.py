"""Quantiles of a value."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfmtl.keras_host import ops, register
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.outputs import Output
from tfmtl.typing import Tensor


@register
class Quantile(MaskedLoss):
    """Averages the pinball loss of one quantile or several, over the rows of the global batch that have a label.

    ```
    L = sum_i valid_i * weight_i * l_i / sum_i valid_i
    l_i = mean_k max(q_k (y_i - p_ik), (q_k - 1)(y_i - p_ik))
    ```

    A task with this loss predicts as many columns as there are levels, from the lowest to the highest, which never cross. The
    one next to the median stands for the value where one number is asked for.

    Args:
        levels: `q_k`, rising, in (0, 1).
        name: of the loss.

    Input shape:
        `y_true`, `sample_weight`: `(B,)` or `(B, 1)`, NaN where missing. `y_pred`: `(B, K)`.

    Output shape:
        A scalar. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: no level, one outside (0, 1), levels that do not rise, or as `MaskedLoss`.

    Example:

    >>> from tfmtl.losses import Quantile
    >>> loss = Quantile((0.1, 0.5, 0.9))
    >>> round(float(loss([10.0, float("nan")], [[8.0, 10.0, 13.0], [0.0, 0.0, 0.0]])), 4)
    0.1667

    Reference:
        Koenker and Bassett, "Regression Quantiles", Econometrica 46, 1978.
    """

    def __init__(self, levels: float | Sequence[float] = 0.5, name: str = "quantile"):
        super().__init__(name)
        given = (levels,) if isinstance(levels, (int, float)) else tuple(levels)
        self.levels = tuple(float(level) for level in given)
        rising = list(self.levels) == sorted(set(self.levels))
        if not self.levels or not rising or not all(0 < level < 1 for level in self.levels):
            raise ValueError(f"`levels` must rise within (0, 1), one or more. Received: levels={levels}")
        middle = int(np.argmin(np.abs(np.array(self.levels) - 0.5)))
        self.output = Output("quantiles", len(self.levels), point=middle)

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        levels = ops.convert_to_tensor(np.array(self.levels, "float32"))
        over = ops.expand_dims(labels, -1) - ops.reshape(predictions, (-1, len(self.levels)))  # (B, K)
        return ops.mean(ops.maximum(levels * over, (levels - 1) * over), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": list(self.levels)}

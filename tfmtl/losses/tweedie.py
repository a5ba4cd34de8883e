"""Deviance of an amount that is often 0 and otherwise positive."""

from typing import Any

from tfmtl.keras_host import ops, register
from tfmtl.label_checks import LabelRule
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.outputs import POSITIVE
from tfmtl.typing import Tensor


@register
class Tweedie(MaskedLoss):
    """Averages the negative log-likelihood of a compound Poisson-gamma amount, over the rows of the global batch that have a label.

    ```
    L = sum_i valid_i * weight_i * (m_i^(2 - rho) / (2 - rho) - y_i m_i^(1 - rho) / (1 - rho)) / sum_i valid_i
    ```

    up to what does not depend on the mean `m`, which is the prediction, above 0. The variance grows as `m^rho`.

    Args:
        power: `rho`, in (1, 2): towards 1 counts, towards 2 amounts.
        name: of the loss.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`. `y_true` is 0 or more, or NaN; `y_pred` above 0.

    Output shape:
        A scalar. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: a power outside (1, 2), or as `MaskedLoss`: a negative label, for one.

    Example:

    >>> from tfmtl.losses import Tweedie
    >>> loss = Tweedie(1.5)
    >>> float(loss([0.0, float("nan"), 4.0], [[1.0], [9.0], [4.0]]))
    5.0

    Reference:
        Jorgensen, "Exponential dispersion models", Journal of the Royal Statistical Society B 49, 1987.
    """

    output = POSITIVE
    elementwise = True

    def __init__(self, power: float = 1.5, name: str = "tweedie"):
        super().__init__(name)
        if not 1 < power < 2:
            raise ValueError(f"`power` must be in (1, 2). Received: power={power}")
        self.power = float(power)

    @property
    def label_rule(self) -> LabelRule:
        return LabelRule("nonnegative")

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        first, second = 1 - self.power, 2 - self.power
        log_mean = ops.log(predictions)
        return ops.exp(second * log_mean) / second - labels * ops.exp(first * log_mean) / first

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "power": self.power}

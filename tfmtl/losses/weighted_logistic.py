"""Logistic regression weighted by a watched time, whose odds are the expected time."""

from typing import Any

from tfmtl.keras_host import ops, register
from tfmtl.label_checks import LabelRule
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.outputs import POSITIVE
from tfmtl.typing import Tensor


@register
class WeightedLogistic(MaskedLoss):
    """Averages a logistic loss in which a watched row counts by its time, over the rows of the global batch that have a label.

    ```
    L = sum_i valid_i * weight_i * (y_i log(1 + 1 / o_i) + n_i log(1 + o_i)) / sum_i valid_i
    n_i = 1[y_i = 0]        or 1 of every row, with `exact`
    ```

    The prediction is the odds `o = exp(logit)`, which an export serves. As in the paper they are `E[y] / (1 - P(y > 0))`: close
    to the expected time where few impressions are watched. With `exact` every row counts once as not watched as well, and
    the odds are `E[y]` itself; use it where most rows are watched.

    Args:
        exact: whether watched rows count as not watched too.
        name: of the loss.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`. `y_true` is 0 or more, or NaN; `y_pred` above 0.

    Output shape:
        A scalar. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: as `MaskedLoss`: a negative label, for one.

    Example:

    >>> from tfmtl.losses import WeightedLogistic
    >>> loss = WeightedLogistic()
    >>> round(float(loss([0.0, float("nan"), 3.0], [[1.0], [9.0], [1.0]])), 4)
    1.3863

    Reference:
        Covington, Adams, Sargin, "Deep Neural Networks for YouTube Recommendations", RecSys 2016, section 4.2. `exact` is
        not in the paper.
    """

    output = POSITIVE
    elementwise = True

    def __init__(self, *, exact: bool = False, name: str = "weighted_logistic"):
        super().__init__(name)
        self.exact = exact

    @property
    def label_rule(self) -> LabelRule:
        return LabelRule("nonnegative")

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        log_odds = ops.log(predictions)
        negatives = 1.0 if self.exact else ops.cast(ops.equal(labels, 0.0), "float32")
        return labels * ops.softplus(-log_odds) + negatives * ops.softplus(log_odds)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "exact": self.exact}

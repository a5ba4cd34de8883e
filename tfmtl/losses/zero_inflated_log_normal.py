"""Likelihood of a value that is mostly 0 and otherwise spread over magnitudes, such as what a customer will spend."""

import math

from tfmtl.keras_host import ops, register
from tfmtl.label_checks import LabelRule
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.masked_rows import crossentropy
from tfmtl.outputs import ZERO_INFLATED
from tfmtl.typing import Tensor


@register
class ZeroInflatedLogNormal(MaskedLoss):
    """Averages minus the log-likelihood of a value that is 0 or log-normal, over the rows of the global batch that have a label.

    ```
    L = sum_i valid_i * weight_i * l_i / sum_i valid_i
    l_i = crossentropy(1[y_i > 0], p_i) + 1[y_i > 0] (log(y_i s_i sqrt(2 pi)) + (log y_i - mu_i)^2 / (2 s_i^2))
    mean_i = p_i exp(mu_i + s_i^2 / 2)
    ```

    A task with this loss predicts `[mean, p, s]`, from which `mu = log(mean) - log(p) - s^2 / 2` follows without a loss of
    digits: the three say in words of the business what the distribution's own parameters are. An export serves the mean.

    Args:
        name: of the loss.

    Input shape:
        `y_true`, `sample_weight`: `(B,)` or `(B, 1)`; `y_true` is 0 or more, or NaN. `y_pred`: `(B, 3)`, all above 0.

    Output shape:
        A scalar. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: as `MaskedLoss`: a negative label, for one.

    Example:

    >>> from tfmtl.losses import ZeroInflatedLogNormal
    >>> loss = ZeroInflatedLogNormal()
    >>> round(float(loss([0.0, float("nan")], [[5.0, 0.5, 1.0], [1.0, 0.5, 1.0]])), 4)
    0.6931

    Reference:
        Wang, Liu, Miao, "A Deep Probabilistic Model for Customer Lifetime Value Prediction", 2019, arXiv:1912.07753,
        equation 4. Their code hands on the three raw numbers of the last layer; here a task's tower turns them into the
        columns above.
    """

    output = ZERO_INFLATED

    def __init__(self, name: str = "zero_inflated_log_normal"):
        super().__init__(name)

    @property
    def label_rule(self) -> LabelRule:
        return LabelRule("nonnegative")

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        mean, probability, deviation = (predictions[:, place] for place in range(3))
        positive = ops.cast(labels > 0, "float32")
        log_label = ops.log(ops.where(labels > 0, labels, 1.0))
        mu = ops.log(mean) - ops.log(probability) - ops.square(deviation) / 2
        spread = ops.square((log_label - mu) / deviation) / 2
        density = log_label + ops.log(deviation) + 0.5 * math.log(2 * math.pi) + spread
        likely = crossentropy(positive, probability) + positive * density
        return ops.where(ops.isnan(labels), labels, likely)  # a wrong label of a compiled step must show

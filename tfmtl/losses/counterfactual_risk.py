"""What a step of a chain would cost over all rows, from the rows in which the step before happened."""

from typing import Any, Literal, NamedTuple, TypeAlias

from tfmtl.checks import check_option
from tfmtl.cross_replica import share_of_mean
from tfmtl.keras_host import ops
from tfmtl.label_checks import checked_labels, checked_weights
from tfmtl.masked_rows import HARMLESS, crossentropy
from tfmtl.typing import Tensor

Imputation: TypeAlias = Literal["label", "error"]


class ChainStep(NamedTuple):
    """What a model says of one step of a chain, float32, `(B, 1)` each.

    Attributes:
        propensity: how likely the step before is: the probability with which the label of this one is seen.
        conditional: how likely this step is where the one before happened.
        imputed: logits of what is imputed, of a doubly robust estimate; None leaves the inverse propensities alone.
    """

    propensity: Tensor
    conditional: Tensor
    imputed: Tensor | None = None


class CounterfactualRisk:
    """Estimates the cross-entropy of a step's conditional probability as if the step before had happened in every row.

    ```
    d_i = crossentropy(r_i, c_i)         o_i: the step before happened;  q_i = max(propensity_i, min_propensity)

    IPW  = 1/|D| sum_{i in D} w_i  o_i d_i / q_i
    DR   = 1/|D| sum_{i in D} w_i (e_i + o_i (d_i - e_i) / q_i)
         + 1/|D| sum_{i in D} w_i  o_i (d_i - e_i)^2 / q_i

    "label":  e_i = crossentropy(sigmoid(z_i), c_i)                      z: the logits of the imputation tower
    "error":  e_i = softplus(z_i)
    ```

    D are the rows of the global batch in which both steps have a label; what the others hold changes nothing. No gradient
    enters the propensities. With `"label"` each sum trains one tower, the first that of the step and the second that of the
    imputation, and imputed labels take the variance out of the first. `"error"` is the paper's form, in which every other way
    is open: `e` does not depend on `c`, so the first sum teaches a step what IPW teaches it, but the second draws what it costs
    to what is imputed. Where the truth is known that makes conversion rates too high (`tests/stages/heads/test_escm2_head.py`).

    Args:
        min_propensity: what propensities are at least: no row weighs more than its inverse.
        imputation: what the imputation tower says: the `"label"` that a row would have had, or its `"error"`.

    Raises:
        ValueError: a `min_propensity` outside of (0, 1], or an unknown imputation.

    Example:

    >>> import numpy as np
    >>> from tfmtl.losses.counterfactual_risk import ChainStep, CounterfactualRisk
    >>> clicked, bought = np.array([[1.0], [0.0]], "float32"), np.array([[1.0], [0.0]], "float32")
    >>> step = ChainStep(propensity=np.array([[0.5], [0.1]], "float32"), conditional=np.array([[0.5], [0.9]], "float32"))
    >>> round(float(CounterfactualRisk(min_propensity=0.05)(clicked, bought, step, of="buy")), 4)  # log(2) / 0.5 / 2
    0.6931

    Reference:
        Wang et al., "ESCM2: Entire Space Counterfactual Multi-Task Model for Post-Click Conversion Rate Estimation", SIGIR
        2022, arXiv:2204.05125; `"label"` is the joint learning of Wang et al., "Doubly Robust Joint Learning for
        Recommendation on Data Missing Not at Random", ICML 2019. Sums run over the global batch and are divided by its rows;
        the lower bound of the propensities is ours to name, their detachment that of PaddleRec's code.
    """

    def __init__(self, *, min_propensity: float, imputation: Imputation = "label"):
        if not 0 < min_propensity <= 1:
            raise ValueError(f"`min_propensity` must be in (0, 1]. Received: min_propensity={min_propensity}")
        check_option("imputation", imputation, Imputation)
        self.min_propensity = min_propensity
        self.imputation = imputation

    def __call__(
        self, before: Tensor, labels: Tensor, step: ChainStep, sample_weight: Any = None, *, of: str
    ) -> Tensor:
        """This replica's share of the risk: the shares of all replicas add up to it, as those of a `MaskedLoss`.

        Args:
            before: labels of the step before, 0, 1 or NaN, `(B,)` or `(B, 1)`.
            labels: labels of the step.
            step: what the model says of it.
            sample_weight: None, a scalar, `(B,)` or `(B, 1)`; scales what a row costs and not the count.
            of: name of the step, for messages.
        """
        before, labels = _column(before), _column(labels)
        valid = ops.logical_not(ops.logical_or(ops.isnan(before), ops.isnan(labels)))
        happened = ops.where(valid, before, 0.0)
        labels = checked_labels(ops.where(valid, labels, 0.0), "binary", of)
        weights = ops.cast(valid, "float32")
        count = ops.sum(weights)
        if sample_weight is not None:
            given = ops.broadcast_to(ops.reshape(ops.cast(sample_weight, "float32"), (-1,)), ops.shape(weights))
            weights = checked_weights(ops.where(valid, given, 0.0), of)
        # Replaced before anything is computed from them: a weight of 0 does not undo NaN.
        conditional, propensity = (
            ops.where(valid, _column(each), HARMLESS) for each in (step.conditional, step.propensity)
        )
        inverse = happened / ops.maximum(ops.stop_gradient(propensity), self.min_propensity)
        costs = crossentropy(labels, conditional)
        if step.imputed is None:
            risk = inverse * costs
        else:
            risk = self._doubly_robust(costs, ops.where(valid, _column(step.imputed), 0.0), conditional, inverse)
        return share_of_mean(ops.sum(weights * risk), count)

    def _doubly_robust(self, costs: Tensor, logits: Tensor, conditional: Tensor, inverse: Tensor) -> Tensor:
        """What every row costs by both estimates together, and what its imputation costs."""
        if self.imputation == "error":
            imputed = ops.softplus(logits)
            return imputed + inverse * (costs - imputed) + inverse * ops.square(costs - imputed)
        imputed = crossentropy(ops.stop_gradient(ops.sigmoid(logits)), conditional)
        learned = crossentropy(ops.sigmoid(logits), ops.stop_gradient(conditional))
        return imputed + inverse * (costs - imputed) + inverse * ops.square(ops.stop_gradient(costs) - learned)


def _column(values: Tensor) -> Tensor:
    return ops.reshape(ops.cast(values, "float32"), (-1,))

"""A softmax over the rows of each group."""

from tfmtl.keras_host import ops, register
from tfmtl.label_checks import LabelRule
from tfmtl.losses.ranking_loss import RankingLoss
from tfmtl.masked_rows import MaskedRows
from tfmtl.typing import Tensor


@register
class ListwiseSoftmax(RankingLoss):
    """Averages, over the relevant rows of the global batch, minus the log-probability of choosing them from their group.

    ```
    L = -sum_i weight_i y_i (s_i - log sum_{j in group of i} exp(s_j)) / sum_i y_i        over labelled rows
    ```

    `s` is a row's score: the logit of a binary task's probability, or a regression's value, whose labels are grades from 0 on.
    A group without a relevant row costs nothing. Only differences of scores are learned. Under a strategy groups lie within
    a replica's part of the batch.

    Args:
        name: of the loss.

    Input shape:
        `y_true`: `(B, 1 + K)`, the label, NaN where missing, and the numbers of the row's group. `y_pred`: `(B,)` or
        `(B, 1)`. `sample_weight`: `(B,)` or `(B, 1)`.

    Output shape:
        A scalar. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: labels without groups, or as `MaskedLoss`: a negative label, for one.

    Example:

    >>> from tfmtl.losses import ListwiseSoftmax
    >>> loss = ListwiseSoftmax()
    >>> labels_and_users = [[1.0, 7.0], [0.0, 7.0], [0.0, 8.0]]
    >>> round(float(loss(labels_and_users, [[0.5], [0.5], [0.9]])), 4)
    0.6931

    Reference:
        Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach" (ListNet), ICML 2007, in the softmax form
        of Bruch et al., "An Analysis of the Softmax Cross Entropy Loss for Learning-to-Rank", ICTIR 2019. Divided by the
        labels of the global batch, not by its groups: a mean over the relevant rows.
    """

    def __init__(self, name: str = "listwise_softmax"):
        super().__init__(name)

    @property
    def label_rule(self) -> LabelRule:
        return LabelRule("nonnegative" if self.kind == "regression" else self.kind)

    def costs(self, rows: MaskedRows) -> tuple[Tensor, Tensor]:
        scores = self.scores(rows.predictions)
        together = self.together(rows)
        among = ops.where(together > 0, ops.expand_dims(scores, 0), -1e30)
        # A row without a label is with nobody, itself included; what it would add is finite and counts 0.
        losses = -rows.weights * rows.labels * (scores - ops.logsumexp(among, axis=1))
        return ops.where(rows.valid > 0, losses, 0.0), rows.labels * rows.valid

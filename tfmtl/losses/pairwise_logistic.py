"""A logistic loss for each pair of rows of a group."""

from tfmtl.keras_host import ops, register
from tfmtl.losses.ranking_loss import RankingLoss
from tfmtl.masked_rows import MaskedRows
from tfmtl.typing import Tensor


@register
class PairwiseLogistic(RankingLoss):
    """Averages, over the pairs of the global batch, how far the better row of a pair is from being ranked first.

    ```
    L = sum_{(i, j)} weight_i weight_j log(1 + exp(s_j - s_i)) / pairs        (i, j): of one group, y_i > y_j, both labelled
    ```

    `s` is a row's score: the logit of a binary task's probability, or a regression's value. Only differences of scores are
    learned: a probability that is trained so ranks and says nothing of rates. Under a strategy pairs lie within a replica's
    part of the batch.

    Args:
        name: of the loss.

    Input shape:
        `y_true`: `(B, 1 + K)`, the label, NaN where missing, and the numbers of the row's group. `y_pred`: `(B,)` or
        `(B, 1)`. `sample_weight`: `(B,)` or `(B, 1)`.

    Output shape:
        A scalar, 0 without a pair. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: labels without groups, or as `MaskedLoss`.

    Example:

    >>> from tfmtl.losses import PairwiseLogistic
    >>> loss = PairwiseLogistic()
    >>> labels_and_users = [[1.0, 7.0], [0.0, 7.0], [0.0, 8.0]]
    >>> round(float(loss(labels_and_users, [[0.5], [0.5], [0.9]])), 4)
    0.6931

    Reference:
        Burges et al., "Learning to Rank using Gradient Descent" (RankNet), ICML 2005; on 0 and 1 it is BPR's loss (Rendle
        et al., UAI 2009).
    """

    def __init__(self, name: str = "pairwise_logistic"):
        super().__init__(name)

    def costs(self, rows: MaskedRows) -> tuple[Tensor, Tensor]:
        better = ops.cast(ops.expand_dims(rows.labels, 1) > ops.expand_dims(rows.labels, 0), "float32")
        pairs = self.together(rows) * better  # (B, B): the better row, the other one
        scores = self.scores(rows.predictions)
        behind = ops.softplus(ops.expand_dims(scores, 0) - ops.expand_dims(scores, 1))
        losses = rows.weights * ops.sum(pairs * behind * ops.expand_dims(rows.weights, 0), axis=1)
        # A wrong label of a compiled step is NaN, which is greater than nothing: it must show.
        return losses + 0.0 * rows.labels, ops.sum(pairs, axis=1)

"""A cross-entropy for each threshold between ordered classes."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import ops, register
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.masked_rows import LEAST
from tfmtl.typing import TaskKind, Tensor


@register
class Coral(MaskedLoss):
    """Averages, over the rows of the global batch that have a label, one binary cross-entropy for each threshold of ordered classes.

    ```
    L = sum_i valid_i * weight_i * l_i / sum_i valid_i
    l_i = -sum_{k < C-1} 1[y_i > k] log P(y > k) + 1[y_i <= k] log P(y <= k)
    ```

    Both probabilities of a threshold are sums over the classes on its sides, so neither is a difference that would cancel.
    A mistake by three classes costs about three times one by one class, where cross-entropy sees one wrong class.

    Args:
        num_classes: columns of a prediction; a `Task` fills it in.
        name: of the loss.

    Input shape:
        `y_true`, `sample_weight`: `(B,)` or `(B, 1)`, the index of a class, or NaN. `y_pred`: `(B, num_classes)`, probabilities.

    Output shape:
        A scalar. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: fewer than 2 classes, or as `MaskedLoss`: a label that is no class, for one.

    Example:

    >>> from tfmtl.losses import Coral
    >>> loss = Coral(3)
    >>> near, far = loss([1.0], [[0.8, 0.1, 0.1]]), loss([2.0], [[0.8, 0.1, 0.1]])
    >>> bool(far > 1.5 * near)
    True

    Reference:
        Cao, Mirjalili, Raschka, "Rank consistent ordinal regression for neural networks" (CORAL), Pattern Recognition
        Letters 2020, arXiv:1901.07884. One score and a bias for each threshold, as there; ours are in order by their form
        (`Task(ordered=True)`), the paper's at the optimum only.
    """

    kind: TaskKind = "multiclass"

    def __init__(self, num_classes: int | None = None, name: str = "coral"):
        super().__init__(name)
        self.num_classes = None if num_classes is None else check_count("num_classes", num_classes, least=2)

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        below = ops.cumsum(predictions, axis=-1)[:, :-1]  # P(y <= k), (B, C - 1)
        above = ops.flip(ops.cumsum(ops.flip(predictions, axis=-1), axis=-1), axis=-1)[:, 1:]
        thresholds = ops.arange(below.shape[-1], dtype="float32")
        labels = ops.expand_dims(labels, -1)
        happened = ops.where(labels > thresholds, above, below)
        happened = ops.where(ops.isnan(labels), labels, happened)  # a wrong label of a compiled step must show
        return -ops.sum(ops.log(ops.maximum(happened, LEAST)), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}

"""Cross-entropy of the probabilities of classes, over the rows that have a label."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import register
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.masked_rows import class_crossentropy
from tfmtl.typing import TaskKind, Tensor


@register
class MaskedCategoricalCrossentropy(MaskedLoss):
    """Averages the cross-entropy of classes over the rows of the global batch whose label is not NaN.

    ```
    L = -sum_i valid_i * weight_i * log p_{i, y_i} / sum_i valid_i
    ```

    The loss of a multiclass task, ordered or not: an ordered one's probabilities come from cumulative logits, and this is
    then the likelihood of that model. Computed in float32, with a probability below 1e-12 read as that.

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

    >>> from tfmtl.losses import MaskedCategoricalCrossentropy
    >>> loss = MaskedCategoricalCrossentropy(3)
    >>> round(float(loss([2.0, float("nan")], [[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])), 4)
    0.6931
    """

    kind: TaskKind = "multiclass"

    def __init__(self, num_classes: int | None = None, name: str = "masked_categorical_crossentropy"):
        super().__init__(name)
        self.num_classes = None if num_classes is None else check_count("num_classes", num_classes, least=2)

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        return class_crossentropy(labels, predictions)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}

"""Cross-entropy in which rare classes weigh more."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfmtl.keras_host import ops, register
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.masked_rows import class_crossentropy, crossentropy
from tfmtl.typing import TaskKind, Tensor


@register
class ClassBalanced(MaskedLoss):
    """Averages a cross-entropy in which a class counts by the inverse of its effective number of rows.

    ```
    w_c = (1 - beta) / (1 - beta^n_c),   scaled so that the C weights add up to C
    L   = sum_i valid_i * weight_i * w_{y_i} * crossentropy(y_i, p_i) / sum_i valid_i
    ```

    With `beta` 0 all classes weigh the same; towards 1 they weigh `1 / n_c`. The probabilities that are learned are those of
    classes that weigh so: calibrate them (`tfmtl.models.calibrated`) where they are read as rates.

    Args:
        counts: rows of each class in the training data, `n_c`; of a binary task `(negatives, positives)`.
        beta: in [0, 1).
        name: of the loss.

    Input shape:
        `y_true`, `sample_weight`: `(B,)` or `(B, 1)`. `y_pred`: `(B, 1)` of a binary task, `(B, C)` of classes.

    Output shape:
        A scalar. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: fewer than two counts or one below 1, a `beta` outside [0, 1), or as `MaskedLoss`.

    Example:

    >>> from tfmtl.losses import ClassBalanced
    >>> loss = ClassBalanced((900, 100), beta=0.99)
    >>> [round(weight, 2) for weight in loss.weights]
    [0.78, 1.22]

    Reference:
        Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, arXiv:1901.05555, its
        cross-entropy; for a binary task on one probability.
    """

    kind: TaskKind = "binary"

    def __init__(self, counts: Sequence[float], *, beta: float = 0.999, name: str = "class_balanced"):
        super().__init__(name)
        self.counts = tuple(float(count) for count in counts)
        if len(self.counts) < 2 or not all(1 <= count < float("inf") for count in self.counts):
            raise ValueError(f"`counts` must be rows >= 1 of two classes or more. Received: counts={counts}")
        if not 0 <= beta < 1:
            raise ValueError(f"`beta` must be in [0, 1). Received: beta={beta}")
        self.beta = float(beta)
        if len(self.counts) > 2:
            self.kind, self.num_classes = "multiclass", len(self.counts)

    @property
    def kinds(self) -> tuple[TaskKind, ...]:
        return ("binary", "multiclass") if len(self.counts) == 2 else ("multiclass",)

    @property
    def weights(self) -> list[float]:
        """`w_c`."""
        effective = (1 - np.power(self.beta, self.counts)) / (1 - self.beta)
        inverse = 1 / effective
        return [float(weight) for weight in inverse * len(inverse) / inverse.sum()]

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        of_classes = ops.convert_to_tensor(np.array(self.weights, "float32"))
        binary = self.kind == "binary"
        losses = crossentropy(labels, predictions) if binary else class_crossentropy(labels, predictions)
        index = ops.cast(ops.where(ops.isnan(labels), 0.0, labels), "int32")
        return ops.take(of_classes, index, axis=0) * losses

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "counts": list(self.counts), "beta": self.beta}

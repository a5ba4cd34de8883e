"""The mean of a loss over the rows that count, wherever in the global batch they lie."""

from typing import Any

from tfmtl.cross_replica import num_replicas, share_of_mean
from tfmtl.keras_host import keras, ops
from tfmtl.losses.added_losses import refuse_added_losses
from tfmtl.masked_rows import mask
from tfmtl.typing import TaskKind, Tensor


class MaskedLoss(keras.losses.Loss):
    """Averages `row_losses` over the valid rows of the global batch.

    ```
    L = sum_i valid_i * weight_i * loss(y_i, p_i) / sum_i valid_i        valid_i = label i is not NaN
    ```

    Both sums run over all replicas. Each replica returns a share of `L`; the shares add up to `L`, and so do their
    gradients: the result is that of one device, however the labels fall on the replicas. (Keras calls this the
    reduction "sum": it adds the replicas' losses and scales nothing.) Without a valid row `L` is 0.

    `sample_weight` scales a row's loss and not the count, as in Keras.

    A loss of your own says what one row costs: a subclass gives `row_losses`, and `kind` where its labels are 0 and 1.
    The rest, missing labels, replicas, wrong labels, is done here. `docs/losses.md` has an example.

    Args:
        name: of the loss, and what an error calls it: `objectives` gives it the name of the task.

    Raises:
        ValueError: labels or predictions of more than one column, a label that is not of the loss's `kind`, a sample
            weight that is negative or not finite. In a compiled step TensorFlow and JAX wrap the sentence in an error of
            their own; under XLA, `jit_compile=True`, which knows no errors, the loss becomes NaN. Several replicas of a
            plain Keras 3 model whose layers add losses of their own (see `tfmtl.models.NamedModel`).
    """

    kind: TaskKind = "regression"
    """What labels can be: 0 and 1 (`"binary"`), or any finite value (`"regression"`)."""

    def __init__(self, name: str):
        super().__init__(name=name, reduction="sum")

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """The loss of every row, `(B,)`. Labels are never NaN here: a row without one has label 0 and prediction 0.5."""
        raise NotImplementedError

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        if num_replicas() > 1:
            refuse_added_losses()
        rows = mask(y_true, y_pred, sample_weight, kind=self.kind, of=self.name)
        losses = rows.weights * self.row_losses(rows.labels, rows.predictions)
        return share_of_mean(ops.sum(losses), ops.sum(rows.valid))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of every row, `(B,)`, 0 where the label is missing."""
        rows = mask(y_true, y_pred, kind=self.kind, of=self.name)
        return rows.valid * self.row_losses(rows.labels, rows.predictions)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}

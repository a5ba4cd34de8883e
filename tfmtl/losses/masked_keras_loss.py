"""Any loss of Keras that is a sum over rows, over the rows that have a label."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfmtl.checks import check_count, check_option
from tfmtl.keras_host import keras, ops, register
from tfmtl.label_checks import LabelRule
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.outputs import POSITIVE
from tfmtl.typing import TaskKind, Tensor

PROBES = np.array([[0.0, 1.0, 1.0, 0.0], [0.3, 0.8, 0.4, 0.6], [0.6, 0.9, 0.7, 0.2]], "float32")
"""Labels, predictions and other predictions, `(4,)`, that tell whether a loss looks at one row at a time, and at the prediction."""


@register
class MaskedKerasLoss(MaskedLoss):
    """Averages a Keras loss over the rows of the global batch whose label is not NaN.

    By itself a Keras loss is NaN for good beside the first missing label, and averages within each replica. Here it
    says what one row costs, and `MaskedLoss` does the rest. `Task(loss=...)`, `objectives(tasks, losses={task: loss})` and
    `tfmtl.masked` make one of any loss.

    A loss of classes sees labels as one column a class, 1 for the label's and 0 elsewhere, and Keras's sparse one sees their
    index. Keras's Poisson loss reads a mean above 0, which a task with `Task(loss="poisson")` predicts.

    Args:
        loss: a Keras loss, a function `(labels, predictions) -> losses`, or the name of either. Its own reduction is
            not used.
        kind: what labels can be: of a `"binary"` task 0 and 1, of a `"regression"` anything finite, of a `"multiclass"` task
            the index of a class.
        name: of the loss; that of `loss` where None.
        num_classes: of a `"multiclass"` task.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`; a missing label is NaN. `y_pred` of classes: `(B, C)`.

    Output shape:
        A scalar. Under a strategy it is this replica's share of the loss: the shares of all replicas add up to it.

    Raises:
        ValueError: a loss that mixes rows (`Dice`, `Circle`) or that means several columns and says nothing of one
            (`CategoricalCrossentropy` of another task than one of classes, `CosineSimilarity`); classes that are not counted;
            later what `MaskedLoss` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.losses import MaskedKerasLoss
    >>> loss = MaskedKerasLoss(keras.losses.MeanAbsoluteError())
    >>> float(loss([3.0, float("nan")], [[1.0], [7.0]]))
    2.0
    """

    def __init__(
        self, loss: Any, kind: TaskKind = "regression", name: str | None = None, num_classes: int | None = None
    ):
        self.loss = keras.losses.get(loss)
        self.kind = kind
        check_option("kind", kind, TaskKind)
        if kind == "multiclass":
            self.num_classes = check_count("num_classes", num_classes, least=2)
        super().__init__(name or (self.loss.name if isinstance(self.loss, keras.losses.Loss) else _name(self.loss)))
        if isinstance(self.loss, keras.losses.Poisson) or self.loss is keras.losses.poisson:
            self.output = POSITIVE
        _check_rows_stand_alone(self.name, self.row_losses, self.num_classes)

    @property
    def label_rule(self) -> LabelRule:
        return LabelRule("nonnegative") if self.output == POSITIVE else super().label_rule

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        if isinstance(self.loss, MaskedLoss):
            return self.loss.row_losses(labels, predictions)
        of_rows = self.loss.call if isinstance(self.loss, keras.losses.Loss) else self.loss
        if self.num_classes is None:
            losses = of_rows(ops.expand_dims(labels, -1), ops.expand_dims(predictions, -1))  # (B,) or (B, 1)
        else:
            losses = of_rows(self._as_classes(labels), predictions)
        return ops.reshape(losses, (-1,))

    def _as_classes(self, labels: Tensor) -> Tensor:
        """Labels as losses of classes read them: `(B, 1)` indices or `(B, C)`."""
        sparse = isinstance(self.loss, keras.losses.SparseCategoricalCrossentropy)
        if sparse or self.loss is keras.losses.sparse_categorical_crossentropy:
            return ops.expand_dims(labels, -1)
        places = ops.arange(self.num_classes, dtype="float32")
        column = ops.expand_dims(labels, -1)
        one_hot = ops.cast(ops.equal(column, places), "float32")
        return ops.where(ops.isnan(column), column, one_hot)  # a wrong label of a compiled step must show

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "loss": keras.losses.serialize(self.loss), "kind": self.kind}
        return config if self.num_classes is None else {**config, "num_classes": self.num_classes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaskedKerasLoss":
        return cls(**{**config, "loss": keras.losses.deserialize(config["loss"])})


def _name(function: Callable[..., Tensor]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _check_rows_stand_alone(
    name: str, row_losses: Callable[[Tensor, Tensor], Tensor], num_classes: int | None = None
) -> None:
    """Raises ValueError unless each row costs the same by itself as among others, and the prediction matters."""
    labels, predictions, others = (PROBES[0], *(_of_classes(row, num_classes) for row in PROBES[1:]))

    def costs(chosen: np.ndarray, rows: slice) -> np.ndarray:
        columns = (ops.convert_to_tensor(column[rows]) for column in (labels, chosen))
        return np.asarray(ops.convert_to_numpy(row_losses(*columns)))

    expected = "columns, (B, 1), of labels and predictions" if num_classes is None else "labels and predictions (B, C)"
    try:
        together = costs(predictions, slice(None))
        alone = np.concatenate([costs(predictions, slice(row, row + 1)) for row in range(len(labels))])
        moved = costs(others, slice(None))
    except Exception as error:
        raise ValueError(f"`loss` must take {expected}. Received: loss={name!r}") from error
    if together.shape != labels.shape or not np.allclose(together, alone, rtol=1e-4, atol=1e-5):
        raise ValueError(
            "`loss` must give one loss for each row that does not depend on the other rows: only then can rows without a "
            f"label be left out. Received: loss={name!r}"
        )
    if np.allclose(together, moved, rtol=1e-4, atol=1e-5):
        raise ValueError(f"`loss` must depend on a prediction of one column. Received: loss={name!r}")


def _of_classes(probabilities: np.ndarray, num_classes: int | None) -> np.ndarray:
    """Probabilities of a positive as those of classes, `(4, C)`: the first class gets the rest."""
    if num_classes is None:
        return probabilities
    rest = np.repeat(probabilities[:, None] / (num_classes - 1), num_classes - 1, axis=1)
    return np.concatenate([1 - probabilities[:, None], rest], axis=1).astype("float32")

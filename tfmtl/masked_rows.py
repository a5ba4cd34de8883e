"""What losses and metrics must agree on: which rows count, and what one row costs."""

from typing import Any, NamedTuple

from tfmtl.keras_host import ops
from tfmtl.label_checks import checked_labels, checked_weights
from tfmtl.typing import TaskKind, Tensor

EPSILON = 1e-7
"""Probabilities are read as lying in `[EPSILON, 1 - EPSILON]`; float32 knows no finer step below 1."""

HARMLESS = 0.5
"""Stands for the prediction of a row without a label: logarithms, roots and quotients are finite there, and so are their
slopes, which a weight of 0 could not undo."""


class MaskedRows(NamedTuple):
    """A batch of one task, float32, every field `(B,)`. A row that does not count has weight 0, label 0, prediction 0.5."""

    labels: Tensor
    predictions: Tensor
    weights: Tensor
    valid: Tensor


def mask(
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None = None,
    *,
    kind: TaskKind = "regression",
    of: str = "y_true",
    in_graphs: bool = True,
) -> MaskedRows:
    """Leaves out the rows whose label is NaN, and refuses labels and weights that nothing can be computed from.

    Label, prediction and weight of a row without a label are replaced *before* anything is computed from them:
    multiplying by a zero weight would not do, since `0 * NaN` is NaN, in the loss and in its gradient. Rows that count
    are left as they are, so a NaN prediction still shows.

    Args:
        y_true: labels, `(B,)` or `(B, 1)`.
        y_pred: predictions, `(B,)` or `(B, 1)`.
        sample_weight: None, a scalar, `(B,)` or `(B, 1)`.
        kind: of the task: what its labels can be.
        of: the name of the task, loss or metric, for the message.
        in_graphs: whether a compiled step fails too, as in `checked_labels`.

    Raises:
        ValueError: one of them is not one column, their lengths are known and differ, a label is not of the task's kind,
            or a weight is negative or not finite.
    """
    labels, predictions = _column("y_true", y_true), _column("y_pred", y_pred)
    _check_lengths(y_true=labels, y_pred=predictions)
    valid = ops.logical_not(ops.isnan(labels))
    counted = ops.cast(valid, "float32")
    weights = counted
    if sample_weight is not None:
        given = ops.convert_to_tensor(sample_weight)
        if _rank(given) != 0:
            given = _column("sample_weight", given)
            _check_lengths(y_true=labels, sample_weight=given)
        weights = ops.where(valid, ops.cast(given, "float32"), 0.0)
        weights = checked_weights(weights, of, in_graphs=in_graphs)
    labels = checked_labels(ops.where(valid, labels, 0.0), kind, of, in_graphs=in_graphs)
    return MaskedRows(labels, ops.where(valid, predictions, HARMLESS), weights, counted)


def crossentropy(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Binary cross-entropy of each row, finite for every probability in [0, 1].

    The clipping is passed straight through in the gradient, so a confident mistake has a slope here, of up to 1 / EPSILON.
    What reaches the weights also depends on the sigmoid below, whose own slope ends where float32 does: `TaskTower` sees
    to that.
    """
    clipped = ops.clip(probabilities, EPSILON, 1.0 - EPSILON)
    probabilities = probabilities + ops.stop_gradient(clipped - probabilities)
    return -(labels * ops.log(probabilities) + (1.0 - labels) * ops.log(1.0 - probabilities))


def _column(name: str, values: Tensor) -> Tensor:
    values = ops.convert_to_tensor(values)
    rank = _rank(values)
    if rank is not None and (rank > 2 or (rank == 2 and values.shape[1] != 1)):
        raise ValueError(f"`{name}` must be one column, (B,) or (B, 1). Received: shape={tuple(values.shape)}")
    return ops.reshape(ops.cast(values, "float32"), (-1,))


def _rank(tensor: Tensor) -> int | None:
    """None where TensorFlow does not know it, as after one fit on `(B,)` and one on `(B, 1)`."""
    shape: Any = tensor.shape
    return shape.rank if hasattr(shape, "rank") else len(shape)


def _check_lengths(**columns: Tensor) -> None:
    """Raises ValueError where lengths are known and differ: a single row would be repeated for all others."""
    lengths = {name: column.shape[0] for name, column in columns.items()}
    if len({length for length in lengths.values() if length is not None}) > 1:
        named = " and ".join(f"`{name}`" for name in lengths)
        raise ValueError(f"{named} must have as many rows. Received: rows={lengths}")

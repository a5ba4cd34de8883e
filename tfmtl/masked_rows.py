"""What losses and metrics must agree on: which rows count, and what one row costs."""

from typing import Any, NamedTuple

from tfmtl.keras_host import ops
from tfmtl.label_checks import LabelRule, Named, checked_labels, checked_weights
from tfmtl.typing import LabelKind, Tensor

EPSILON = 1e-7
"""Probabilities are read as lying in `[EPSILON, 1 - EPSILON]`; float32 knows no finer step below 1."""

LEAST = 1e-12
"""The probability of a class below it counts as this: of many classes one may well be below `EPSILON`."""

HARMLESS = 0.5
"""Stands for the prediction of a row without a label: logarithms, roots and quotients are finite there, and so are their
slopes, which a weight of 0 could not undo."""


class MaskedRows(NamedTuple):
    """A batch of one task, float32, every field `(B,)`. A row that does not count has weight 0, label 0, prediction 0.5.

    Predictions of several columns are `(B, width)`; `groups` are `(B, K)`, the numbers by which rows are of one group where
    they are equal, of a loss that compares rows. Of tasks that are computed together every field is `(T, B)`.
    """

    labels: Tensor
    predictions: Tensor
    weights: Tensor
    valid: Tensor
    groups: Tensor | None = None


def mask(
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None = None,
    *,
    rule: LabelRule | LabelKind = "regression",
    of: str = "y_true",
    width: int = 1,
    grouped: bool = False,
    in_graphs: bool = True,
) -> MaskedRows:
    """Leaves out the rows whose label is NaN, and refuses labels and weights that nothing can be computed from.

    Label, prediction and weight of a row without a label are replaced *before* anything is computed from them:
    multiplying by a zero weight would not do, since `0 * NaN` is NaN, in the loss and in its gradient. Rows that count
    are left as they are, so a NaN prediction still shows.

    Args:
        y_true: labels, `(B,)` or `(B, 1)`, or `(B, 1 + K)` with groups.
        y_pred: predictions, `(B,)` or `(B, 1)`, or `(B, width)`.
        sample_weight: None, a scalar, `(B,)` or `(B, 1)`.
        rule: what labels can be.
        of: the name of the task, loss or metric, for the message.
        width: columns of a prediction.
        grouped: whether labels come with the groups of their rows.
        in_graphs: whether a compiled step fails too, as in `checked_labels`.

    Raises:
        ValueError: one of them has other columns, their lengths are known and differ, a label that the task cannot have, or
            a weight is negative or not finite.
    """
    groups = None
    if grouped:
        y_true, groups = _label_and_groups(y_true, of)
    labels = _column("y_true", y_true)
    predictions = _column("y_pred", y_pred) if width == 1 else _columns("y_pred", y_pred, width)
    _check_lengths(y_true=labels, y_pred=predictions)
    given = None
    if sample_weight is not None:
        given = ops.convert_to_tensor(sample_weight)
        if _rank(given) != 0:
            given = _column("sample_weight", given)
            _check_lengths(y_true=labels, sample_weight=given)
        given = ops.cast(given, "float32")
    rows = mask_table(labels, predictions, given, rule=rule, of=of, in_graphs=in_graphs)
    return rows._replace(groups=groups)


def mask_table(
    labels: Tensor,
    predictions: Tensor,
    weights: Tensor | None,
    *,
    rule: LabelRule | LabelKind,
    of: Named,
    in_graphs: bool = True,
) -> MaskedRows:
    """`mask` of what is float32 and in shape: `(B,)` or, of tasks with the names `of`, `(T, B)`."""
    valid = ops.logical_not(ops.isnan(labels))
    counted = ops.cast(valid, "float32")
    given = counted if weights is None else ops.where(valid, weights, 0.0)
    weights = given if weights is None else checked_weights(given, of, in_graphs=in_graphs)
    labels = checked_labels(ops.where(valid, labels, 0.0), rule, of, in_graphs=in_graphs)
    has_label = ops.expand_dims(valid, -1) if _rank(predictions) != _rank(labels) else valid
    return MaskedRows(labels, ops.where(has_label, predictions, HARMLESS), weights, counted)


def crossentropy(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Binary cross-entropy of each row, finite for every probability in [0, 1].

    The clipping is passed straight through in the gradient, so a confident mistake has a slope here, of up to 1 / EPSILON.
    What reaches the weights also depends on the sigmoid below, whose own slope ends where float32 does: `TaskTower` sees
    to that.
    """
    clipped = ops.clip(probabilities, EPSILON, 1.0 - EPSILON)
    probabilities = probabilities + ops.stop_gradient(clipped - probabilities)
    return -(labels * ops.log(probabilities) + (1.0 - labels) * ops.log(1.0 - probabilities))


def class_crossentropy(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Minus the logarithm of the probability that `(B, C)` gives to the class `labels`, `(B,)`, of each row."""
    return -ops.log(ops.maximum(probability_of(labels, probabilities), LEAST))


def probability_of(labels: Tensor, probabilities: Tensor) -> Tensor:
    """What `(B, C)` gives to the class `labels`, `(B,)`."""
    index = ops.expand_dims(ops.cast(ops.where(ops.isnan(labels), 0.0, labels), "int32"), -1)
    found = ops.take_along_axis(probabilities, index, axis=-1)[:, 0]
    return ops.where(ops.isnan(labels), labels, found)  # a wrong label of a compiled step is NaN, and must show


def _column(name: str, values: Tensor) -> Tensor:
    values = ops.convert_to_tensor(values)
    rank = _rank(values)
    if rank is not None and (rank > 2 or (rank == 2 and values.shape[1] != 1)):
        raise ValueError(f"`{name}` must be one column, (B,) or (B, 1). Received: shape={tuple(values.shape)}")
    return ops.reshape(ops.cast(values, "float32"), (-1,))


def _columns(name: str, values: Tensor, width: int) -> Tensor:
    values = ops.convert_to_tensor(values)
    if _rank(values) not in (None, 2) or (_rank(values) == 2 and values.shape[1] not in (None, width)):
        raise ValueError(f"`{name}` must have {width} columns, (B, {width}). Received: shape={tuple(values.shape)}")
    return ops.reshape(ops.cast(values, "float32"), (-1, width))


def _label_and_groups(y_true: Tensor, of: str) -> tuple[Tensor, Tensor]:
    """The labels, `(B, 1)`, and the groups, `(B, K)`, of `(B, 1 + K)`."""
    values = ops.cast(ops.convert_to_tensor(y_true), "float32")
    if _rank(values) != 2 or values.shape[1] is None or values.shape[1] < 2:
        raise ValueError(
            f"The labels of `{of}` must come with the groups within which its loss compares rows: (B, 2) or wider, the label "
            "first, as `tfmtl.read` gives them for a task that has a `group` and `numpy.stack([labels, groups], 1)` makes "
            f"them. Received: shape={tuple(values.shape)}"
        )
    return values[:, :1], values[:, 1:]


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

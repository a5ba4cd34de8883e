"""Operations that read the user's row and the candidates' rows: the row is broadcast instead of repeated."""

import tensorflow as tf

from tfmtl.serving.parts import Copy, Each, Fixed, Once, Rule, Value, rows_axis
from tfmtl.typing import Tensor


def elementwise(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """The operation itself broadcasts, if all rows stand in the same axis."""
    aligned = _aligned(op, inputs)
    return None if aligned is None else [Each(copy(op, aligned[1])[0])]


def batch_matmul(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """Attention to the user's history: its keys are one matrix, which all candidates' queries multiply at once."""
    aligned = _aligned(op, inputs)
    if aligned is None or aligned[0] > -3:
        return None
    axis, (x, y) = aligned
    if axis < -3 or op.get_attr("adj_x") or op.get_attr("adj_y"):
        return [Each(copy(op, [x, y])[0])]
    if isinstance(inputs[1], Once):
        return [Each(_by_one(x, y))]
    if isinstance(inputs[0], Once):
        return [Each(_swapped(_by_one(_swapped(y), _swapped(x))))]
    return None


def _aligned(op: tf.Operation, inputs: list[Value]) -> tuple[int, list[Tensor]] | None:
    """The axis, counted from the last, in which all rows stand, and the inputs; None where that is not known."""
    axes: set[int | None] = set()
    tensors: list[Tensor] = []
    for traced, value in zip(op.inputs, inputs, strict=True):
        if not isinstance(value, (Fixed, Once, Each)):
            return None
        tensors.append(value.tensor)
        if not isinstance(value, Fixed):
            axis = rows_axis(traced, value.tensor if isinstance(value, Once) else None)
            axes.add(None if axis is None else axis - traced.shape.rank)
    axis = axes.pop() if len(axes) == 1 else None
    return None if axis is None else (axis, tensors)


def _by_one(x: Tensor, y: Tensor) -> Tensor:
    """`(..., N, M, K)` times `(..., 1, K, P)`: one product of `(N M, K)` and `(K, P)`."""
    rows, matrix = tf.shape(x)[-3:], tf.squeeze(y, -3)
    product = tf.matmul(tf.reshape(x, tf.concat([tf.shape(x)[:-3], [-1], rows[2:]], 0)), matrix)
    split = tf.concat([tf.shape(product)[:-2], rows[:2], tf.shape(product)[-1:]], 0)
    return tf.reshape(product, split)


def _swapped(x: Tensor) -> Tensor:
    """Matrices transposed; a row or a column is not moved."""
    if 1 not in x.shape[-2:]:
        return tf.linalg.matrix_transpose(x)
    shape = tf.shape(x)
    return tf.reshape(x, tf.concat([shape[:-2], shape[-1:], shape[-2:-1]], 0))


# fmt: off
ELEMENTWISE = (
    "Add", "AddV2", "Equal", "FloorDiv", "FloorMod", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr",
    "Maximum", "Minimum", "Mul", "NotEqual", "Pow", "RealDiv", "SelectV2", "SquaredDifference", "Sub",
)
# fmt: on

BROADCAST_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(("BatchMatMul", "BatchMatMulV2"), batch_matmul),
}
"""By type of operation."""

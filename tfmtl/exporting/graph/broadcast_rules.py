"""Operations that read the user's row and the candidates' rows: the row is broadcast instead of repeated."""

from typing import Any

import tensorflow as tf

from tfmtl.exporting.graph.parts import Copy, Each, Fixed, Once, Rule, Value, rows_axis
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
    *outer, rows, columns, inner = _sizes(x)
    product = tf.matmul(tf.reshape(x, [*outer, -1, inner]), tf.squeeze(y, -3))
    *outer, _, width = _sizes(product)
    return tf.reshape(product, [*outer, rows, columns, width])


def _swapped(x: Tensor) -> Tensor:
    """Matrices transposed; a row or a column is not moved."""
    *outer, rows, columns = _sizes(x)
    return tf.reshape(x, [*outer, columns, rows]) if 1 in (rows, columns) else tf.linalg.matrix_transpose(x)


def _sizes(x: Tensor) -> list[Any]:
    """The shape: numbers where they are known, tensors elsewhere."""
    dynamic = tf.shape(x)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(x.shape)]


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

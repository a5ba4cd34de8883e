"""Operations over tensors of which some columns are the user's: both shares stay apart."""

from itertools import pairwise

import numpy as np
import tensorflow as tf

from tfmtl.exporting.graph.parts import Copy, Each, Fixed, Once, Parts, Rule, Shifted, Value, is_batch_major, static
from tfmtl.typing import Tensor


def concat(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """Columns side by side stay apart."""
    *pieces, axis = op.inputs
    kinds = {type(value) for value in inputs[:-1]}
    if not kinds & {Once, Parts} or not kinds <= {Once, Parts, Each}:
        return None
    if static(axis) not in (1, 1 - op.outputs[0].shape.rank) or not all(is_batch_major(piece) for piece in pieces):
        return None
    once: list[Tensor] = []
    each: list[Tensor] = []
    layout: list[bool] = []
    for piece, value in zip(pieces, inputs, strict=False):
        if isinstance(value, Parts):
            once.append(value.once)
            each.append(value.each)
            layout += value.layout
        elif isinstance(value, Once):
            once.append(value.tensor)
            layout += [True] * piece.shape[1]
        elif isinstance(value, Each):
            each.append(value.tensor)
            layout += [False] * piece.shape[1]
    return [Parts(tf.concat(once, 1), tf.concat(each, 1), tuple(layout))]


def elementwise(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """What applies to every element of the whole applies to the parts."""
    parts = [value for value in inputs if isinstance(value, Parts)]
    rank = op.outputs[0].shape.rank
    if not parts or any(value.layout != parts[0].layout for value in parts):
        return None
    pairs: list[tuple[Tensor, Tensor] | None] = []
    for tensor, value in zip(op.inputs, inputs, strict=True):
        if isinstance(value, Parts) and tensor.shape.rank == rank:
            pairs.append((value.once, value.each))
        elif isinstance(value, Fixed) and tensor.shape.rank is not None:
            pairs.append(_operands(value.tensor, tensor.shape, rank, parts[0]))
        else:
            return None
    operands = [pair for pair in pairs if pair is not None]
    if len(operands) < len(pairs):
        return None
    once, each = (copy(op, side)[0] for side in zip(*operands, strict=True))
    return [Parts(once, each, parts[0].layout)]


def gather(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """Ids are looked up in a table part by part."""
    table, ids, *axis = inputs
    if not isinstance(table, Fixed) or not isinstance(ids, Parts) or op.get_attr("batch_dims"):
        return None
    if axis and static(op.inputs[2]) != 0:
        return None
    rest = [value.tensor for value in axis if isinstance(value, Fixed)]
    return [
        Parts(copy(op, [table.tensor, ids.once, *rest])[0], copy(op, [table.tensor, ids.each, *rest])[0], ids.layout)
    ]


def add(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """A bias is added to the row, once."""
    x, y = inputs if len(inputs) == 2 else (None, None)
    if isinstance(y, Shifted):
        x, y = y, x
    if isinstance(x, Shifted) and isinstance(y, Fixed) and y.tensor.shape == x.shift.shape:
        return [Shifted(x.each, x.shift + y.tensor)]
    return elementwise(copy, op, inputs)


def split(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """Columns that were set side by side come apart again."""
    whole, axis = (0, 2) if op.type == "SplitV" else (1, 0)
    value = inputs[whole]
    if not isinstance(value, Parts) or static(op.inputs[axis]) not in (1, 1 - op.inputs[whole].shape.rank):
        return None
    edges = np.cumsum([0] + [output.shape[1] for output in op.outputs]).tolist()
    return [value.columns(start, stop) for start, stop in pairwise(edges)]


def unstack(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """Each column is the user's or the candidate's."""
    value, rank = inputs[0], op.inputs[0].shape.rank
    if not isinstance(value, Parts) or rank is None or op.get_attr("axis") % rank != 1:
        return None
    return [value.column(place) for place in range(len(value.layout))]


def pad(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """Zeros beside later axes leave the columns what they are."""
    value, widths = inputs[0], tf.get_static_value(op.inputs[1])
    if not isinstance(value, Parts) or not isinstance(inputs[1], Fixed) or widths is None or widths[:2].any():
        return None
    zeros = inputs[1].tensor
    return [Parts(copy(op, [value.once, zeros])[0], copy(op, [value.each, zeros])[0], value.layout)]


def matmul(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """`[u, c] W = u W_u + c W_c`: the user's share is the same for all rows."""
    x, kernel = inputs
    if not isinstance(x, Parts) or not isinstance(kernel, Fixed) or op.get_attr("transpose_a"):
        return None
    weight, transposed = kernel.tensor, op.get_attr("transpose_b")
    if weight.op.type == "Transpose":  # of a matrix: a slice of what it transposes is not written out twice
        weight, transposed = weight.op.inputs[0], not transposed
    _, others = x.positions()
    # The user's one row with zeros for the candidate reads the weight as it is; a slice of it would be a copy.
    alone = Parts(x.once, tf.zeros((1, len(others)), x.once.dtype), x.layout).whole(x.once)
    once = tf.matmul(alone, weight, transpose_b=transposed)
    each = tf.matmul(x.each, _taken(weight, others, int(transposed)), transpose_b=transposed)
    return [Shifted(each, once[0])]


def reshape(copy: Copy, op: tf.Operation, inputs: list[Value]) -> list[Value] | None:
    """Columns are flattened, or cut into narrower or wider ones, as long as none is partly the user's."""
    value, before, after = inputs[0], op.inputs[0], op.outputs[0]
    if not isinstance(value, Parts) or not (is_batch_major(before) and is_batch_major(after) and after.shape.rank > 1):
        return None
    if before.shape[1:].num_elements() != after.shape[1:].num_elements():
        return None
    elements = np.repeat(value.layout, before.shape[2:].num_elements()).reshape(after.shape[1], -1)
    if (elements != elements[:, :1]).any():
        return None
    layout = tuple(elements[:, 0].tolist())
    once = tf.reshape(value.once, (-1, sum(layout), *after.shape[2:]))
    return [Parts(once, tf.reshape(value.each, (-1, len(layout) - sum(layout), *after.shape[2:])), layout)]


# fmt: off
ELEMENTWISE = (
    "Abs", "Add", "AddN", "AddV2", "BiasAdd", "Cast", "Elu", "Equal", "Exp", "Greater", "GreaterEqual", "Identity", "IsFinite",
    "IsNan", "Less", "LessEqual", "Log", "Log1p", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum", "Minimum", "Mul",
    "Neg", "NotEqual", "RealDiv", "Relu", "SelectV2", "Sigmoid", "Sign", "Softplus", "Sqrt", "Square", "StopGradient",
    "Sub", "Tanh", "ZerosLike",
)
# fmt: on

PART_RULES: dict[str, Rule] = {
    "ConcatV2": concat,
    "GatherV2": gather,
    "MatMul": matmul,
    "Pad": pad,
    "Reshape": reshape,
    "ResourceGather": gather,
    "Split": split,
    "SplitV": split,
    "Unpack": unstack,
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(("Add", "AddV2", "BiasAdd"), add),
}
"""By type of operation."""


def _operands(tensor: Tensor, shape: tf.TensorShape, rank: int, parts: Parts) -> tuple[Tensor, Tensor] | None:
    """An operand that is broadcast over a whole of `rank` axes, as the operands for its parts."""
    axis = shape.rank - rank + 1  # of the operand, where the whole has its columns
    if axis > 0 and shape[0] != 1:
        return None
    if axis < 0 or shape[axis] == 1:
        return tensor, tensor
    if shape[axis] != len(parts.layout):
        return None
    once, each = (tf.gather(tensor, positions, axis=axis) for positions in parts.positions())
    return once, each


def _taken(matrix: Tensor, positions: np.ndarray, axis: int) -> Tensor:
    """Rows (axis 0) or columns of a matrix; those that lie together are taken together."""
    runs = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
    bounds = [slice(run[0], run[-1] + 1) for run in runs]
    slices = [matrix[bound] if axis == 0 else matrix[:, bound] for bound in bounds]
    return slices[0] if len(slices) == 1 else tf.concat(slices, axis)

"""Which parts of a graph's tensors some outputs depend on, where it is less than the operations tell.

Layers compute for several tasks at once: tables side by side in one weight, gates stacked for one matmul. A head needs a
slice of such a tensor, though it depends on the operation that makes all of it.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfmtl.exporting.graph.part_rules import ELEMENTWISE
from tfmtl.exporting.graph.parts import static
from tfmtl.exporting.graph.traced_function import TracedFunction, needed_operations
from tfmtl.typing import Tensor

Live: TypeAlias = dict[int, np.ndarray]
"""For each axis of a known size but the first, which of its entries are needed, bool."""

Rule: TypeAlias = Callable[[tf.Operation, list[Live]], list[Live] | None]
"""What of its inputs an operation needs for the live parts of its outputs; None: all."""


def liveness(traced: TracedFunction, fetched: Iterable[Tensor]) -> dict[str, Live]:
    """The live parts, by name, of the tensors that `fetched` depend on."""
    fetched = list(fetched)
    live = {tensor.name: everything(tensor) for tensor in fetched}
    needed = needed_operations(fetched, {inside.name for _, inside in traced.captures})
    for op in reversed(traced.graph.get_operations()):  # what reads a tensor comes before the tensor
        if op in needed:
            outputs = [live.get(y.name, _nothing(y)) for y in op.outputs]
            for tensor, part in zip(op.inputs, _needs(op, outputs), strict=True):
                before = live.get(tensor.name, _nothing(tensor))
                live[tensor.name] = {axis: before[axis] | part[axis] for axis in before}
    return live


def is_dead(part: Live) -> bool:
    """Whether nothing of the tensor is needed."""
    return any(not mask.any() for mask in part.values())


def everything(tensor: Tensor) -> Live:
    """All of a tensor."""
    sizes = enumerate(tensor.shape if tensor.shape.rank is not None else ())
    return {axis: np.ones(size, bool) for axis, size in sizes if axis and size}


def _nothing(tensor: Tensor) -> Live:
    return {axis: ~mask for axis, mask in everything(tensor).items()}


def _needs(op: tf.Operation, outputs: list[Live]) -> list[Live]:
    if outputs and all(is_dead(part) for part in outputs):
        return [_nothing(x) for x in op.inputs]
    needs = RULES[op.type](op, outputs) if op.type in RULES else None
    return [everything(x) for x in op.inputs] if needs is None else needs


def _elementwise(op: tf.Operation, outputs: list[Live]) -> list[Live] | None:
    rank = op.outputs[0].shape.rank
    if rank is None or any(x.shape.rank is None for x in op.inputs):
        return None
    return [
        _along(x, outputs[0], {axis: axis + rank - x.shape.rank for axis in range(x.shape.rank)}) for x in op.inputs
    ]


def _reduce(op: tf.Operation, outputs: list[Live]) -> list[Live] | None:
    x, axes = op.inputs
    reduced = tf.get_static_value(axes)
    if reduced is None or x.shape.rank is None:
        return None
    gone = {int(axis) % x.shape.rank for axis in np.ravel(reduced)}
    kept = [axis for axis in range(x.shape.rank) if op.get_attr("keep_dims") or axis not in gone]
    return [
        _along(x, outputs[0], {axis: place for place, axis in enumerate(kept) if axis not in gone}),
        everything(axes),
    ]


def _slice(op: tf.Operation, outputs: list[Live]) -> list[Live] | None:
    """`x[a, b:c]`: later axes than those named are taken as they are."""
    x, begin, *rest = op.inputs
    if x.shape.rank is None or begin.shape[0] is None or op.get_attr("ellipsis_mask") or op.get_attr("new_axis_mask"):
        return None
    named, shrunk = begin.shape[0], bin(op.get_attr("shrink_axis_mask")).count("1")
    whole = _along(x, outputs[0], {axis: axis - shrunk for axis in range(named, x.shape.rank)})
    return [whole, *(everything(y) for y in (begin, *rest))]


def _split(op: tf.Operation, outputs: list[Live]) -> list[Live] | None:
    whole, number = (1, 0) if op.type == "Split" else (0, 2)
    x, axis = op.inputs[whole], static(op.inputs[number])
    if axis is None or x.shape.rank is None or not axis % x.shape.rank:
        return None
    axis %= x.shape.rank
    parts = {other: np.any([part[other] for part in outputs], axis=0) for other in everything(x) if other != axis}
    parts[axis] = np.concatenate([part[axis] for part in outputs])
    return [parts if y is x else everything(y) for y in op.inputs]


def _unstack(op: tf.Operation, outputs: list[Live]) -> list[Live] | None:
    (x,), axis = op.inputs, op.get_attr("axis")
    if x.shape.rank is None or not axis % x.shape.rank:
        return None
    axis %= x.shape.rank
    places = {other: other - (other > axis) for other in everything(x) if other != axis}
    parts = {other: np.any([part[place] for part in outputs], axis=0) for other, place in places.items()}
    return [parts | {axis: np.array([not is_dead(part) for part in outputs])}]


def _stack(op: tf.Operation, outputs: list[Live]) -> list[Live] | None:
    rank, axis = op.outputs[0].shape.rank, op.get_attr("axis")
    if rank is None or not axis % rank:
        return None
    axis %= rank
    places = {other: other + (other >= axis) for other in range(rank - 1)}
    entries = zip(op.inputs, outputs[0][axis], strict=True)
    return [_along(x, outputs[0], places) if entry else _nothing(x) for x, entry in entries]


def _batch_matmul(op: tf.Operation, outputs: list[Live]) -> list[Live] | None:
    x, y = op.inputs
    if op.get_attr("adj_x") or op.get_attr("adj_y") or x.shape.rank != 3 or y.shape.rank != 3:
        return None
    return [_along(x, outputs[0], {1: 1}), _along(y, outputs[0], {2: 2})]


def _along(x: Tensor, output: Live, places: dict[int, int]) -> Live:
    """The live part of an input whose axes reappear in the output at `places`."""
    parts = everything(x)
    for axis, place in places.items():
        if axis in parts and place in output and len(parts[axis]) == len(output[place]):
            parts[axis] = output[place]
    return parts


RULES: dict[str, Rule] = {
    "BatchMatMulV2": _batch_matmul,
    "Max": _reduce,
    "Mean": _reduce,
    "Min": _reduce,
    "Pack": _stack,
    "Split": _split,
    "SplitV": _split,
    "StridedSlice": _slice,
    "Sum": _reduce,
    "Unpack": _unstack,
} | dict.fromkeys(ELEMENTWISE, _elementwise)
"""By type of operation."""

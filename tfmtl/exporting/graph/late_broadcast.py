"""One user, many candidates: a traced graph in which whatever depends on the user alone is computed once."""

from collections.abc import Iterable, Mapping

import tensorflow as tf

from tfmtl.exporting.graph.broadcast_rules import BROADCAST_RULES
from tfmtl.exporting.graph.part_rules import PART_RULES
from tfmtl.exporting.graph.parts import Each, Fixed, Once, Parts, Shifted, Value, rows_axis
from tfmtl.exporting.graph.traced_function import Copier, TracedFunction, needed_operations
from tfmtl.typing import Tensor


class LateBroadcast:
    """Rebuilds a traced graph inside the function being traced, for one row of some inputs and N rows of the others.

    The user's tensors stay `(1, ...)` until they meet a candidate's. Where the two are set side by side they stay apart for
    longer (`PART_RULES`): through element-wise operations, lookups and splits, up to the matmul that reads them. Where an
    operation broadcasts, one reads the other as it is (`BROADCAST_RULES`). So a model's user tables, histories, what a
    transformer makes of them, and their share of the first layer cost one row. Everything not known here reads the
    user's rows repeated N times, which is what the whole graph would have computed.

    Args:
        traced: the graph.
        once: for the user's inputs their tensors, `(1, ...)`.
        each: for the other inputs their tensors, `(N, ...)`; at least one.
    """

    def __init__(self, traced: TracedFunction, once: Mapping[str, Tensor], each: Mapping[str, Tensor]):
        self.traced = traced
        self.copier = Copier(traced)
        self.count = tf.shape(next(iter(each.values())))[0]
        self.values: dict[str, Value] = {traced.inputs[name].name: Once(tensor) for name, tensor in once.items()}
        self.values |= {traced.inputs[name].name: Each(tensor) for name, tensor in each.items()}
        self.repeated: dict[str, Tensor] = {}

    def fetch(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        """The traced `tensors` for every candidate."""
        tensors = list(tensors)
        captures = {inside.name: outside for outside, inside in self.traced.captures}
        needed = needed_operations(tensors, {*self.values, *captures})
        # As created: what an operation reads comes before it.
        operations = [op for op in self.traced.graph.get_operations() if op in needed]
        read = dict.fromkeys(x.name for op in operations for x in op.inputs if x.name in captures)
        self.values |= {name: Fixed(self.count.graph.capture(captures[name])) for name in read}
        for op in operations:
            results = self._evaluate(op, [self.values[x.name] for x in op.inputs])
            self.values |= zip((y.name for y in op.outputs), results, strict=True)
        return [self._each(tensor) for tensor in tensors]

    def _evaluate(self, op: tf.Operation, inputs: list[Value]) -> list[Value]:
        if all(isinstance(value, Fixed) for value in inputs):
            return [Fixed(y) for y in self._copy(op, [self._alone(x) for x in op.inputs])]
        if all(isinstance(value, (Fixed, Once)) for value in inputs):
            return [Once(y) for y in self._copy(op, [self._alone(x) for x in op.inputs])]
        if any(isinstance(value, (Once, Parts, Shifted)) for value in inputs):
            for rules in (PART_RULES, BROADCAST_RULES):
                results = rules[op.type](self.copier.copy, op, inputs) if op.type in rules else None
                if results is not None:
                    return results
        return [Each(y) for y in self._copy(op, [self._each(x) for x in op.inputs])]

    def _copy(self, op: tf.Operation, inputs: Iterable[Tensor]) -> list[Tensor]:
        """The outputs of a copy of `op` over whole rows, with the shapes that Python code had told the graph."""
        inputs = list(inputs)
        copies = self.copier.copy(op, inputs)
        for old, new in zip(op.outputs, copies, strict=True):
            new.set_shape(old.shape)
            if op.type == "LookupTableFindV2" and old.shape.rank == inputs[1].shape.rank:
                new.set_shape(inputs[1].shape)  # a table that is captured does not tell that it holds single values
        return copies

    def _alone(self, tensor: Tensor) -> Tensor:
        """A traced tensor for the user alone."""
        value = self.values[tensor.name]
        if isinstance(value, (Parts, Shifted)):
            raise TypeError(f"{tensor.name} depends on the candidates.")
        return value.tensor

    def _each(self, tensor: Tensor) -> Tensor:
        """A traced tensor for every candidate."""
        value = self.values[tensor.name]
        if isinstance(value, (Fixed, Each)):
            return value.tensor
        if tensor.name not in self.repeated:
            if isinstance(value, Parts):
                self.repeated[tensor.name] = value.whole(self._tile(value.once))
            elif isinstance(value, Shifted):
                self.repeated[tensor.name] = value.whole()
            elif (axis := rows_axis(tensor, value.tensor)) is not None:
                self.repeated[tensor.name] = self._tile(value.tensor, axis)
            else:  # not made of rows, such as a shape: it has to be computed from the repeated rows
                copies = self._copy(tensor.op, [self._each(x) for x in tensor.op.inputs])
                self.repeated[tensor.name] = copies[tensor.value_index]
        return self.repeated[tensor.name]

    def _tile(self, rows: Tensor, axis: int = 0) -> Tensor:
        """`rows`, repeated for every candidate."""
        ones = [1] * rows.shape.rank
        return tf.tile(rows, tf.stack([*ones[:axis], self.count, *ones[axis + 1 :]]))

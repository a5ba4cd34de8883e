"""One user, many candidates: a traced graph in which what depends on the user alone is computed once."""

from collections.abc import Iterable, Mapping

import tensorflow as tf

from tfmtl.exporting.graph.row_values import (
    CandidateRows,
    Constant,
    JoinedColumns,
    ShiftedRows,
    UserRow,
    Value,
    rows_axis,
)
from tfmtl.exporting.graph.traced_function import Tensors, TracedFunction, tensors_read
from tfmtl.exporting.graph.user_once_rules import RULES
from tfmtl.typing import Tensor


class UserOnce:
    """Rebuilds a traced graph inside the function being traced, for one row of some inputs and N rows of the others.

    The user's tensors keep their one row until they meet a candidate's. Where an operation broadcasts, it reads them as
    they are; set side by side with candidates' columns they stay apart up to the matmul that reads both (`RULES`). Any
    other operation reads the user's row repeated N times, which is what the whole graph would have computed.

    Args:
        traced: the graph.
        user: for the user's inputs their tensors, `(1, ...)`.
        candidates: for the other inputs their tensors, `(N, ...)`; at least one.
    """

    def __init__(self, traced: TracedFunction, user: Mapping[str, Tensor], candidates: Mapping[str, Tensor]):
        self.traced = traced
        self.count = tf.shape(next(iter(candidates.values())))[0]
        self.values: dict[str, Value] = {traced.inputs[name].name: UserRow(tensor) for name, tensor in user.items()}
        self.values |= {traced.inputs[name].name: CandidateRows(tensor) for name, tensor in candidates.items()}
        self.repeated: dict[str, Tensor] = {}

    def compute(self, outputs: Iterable[str]) -> Tensors:
        """The graph's `outputs`, by name, for every candidate."""
        fetched = {name: self.traced.outputs[name] for name in outputs}
        tensors = list(fetched.values())
        operations = self.traced.needed_operations(tensors, self.values)
        outside = self.traced.from_outside(tensors_read(operations, tensors) - self.values.keys(), self.count.graph)
        self.values |= {name: Constant(tensor) for name, tensor in outside.items()}
        for op in operations:
            results = self._evaluate(op, [self.values[x.name] for x in op.inputs])
            self.values |= zip((y.name for y in op.outputs), results, strict=True)
        return {name: self._for_candidates(tensor) for name, tensor in fetched.items()}

    def _evaluate(self, op: tf.Operation, inputs: list[Value]) -> list[Value]:
        kinds = {type(value) for value in inputs}
        if kinds <= {Constant, UserRow}:
            kind = UserRow if UserRow in kinds else Constant
            return [kind(y) for y in self._copy(op, [value.tensor for value in inputs])]  # type: ignore[union-attr]
        if kinds & {UserRow, JoinedColumns, ShiftedRows} and op.type in RULES:
            result = RULES[op.type](self._copied, op, inputs)
            if result is not None:
                return [result]
        return [CandidateRows(y) for y in self._copy(op, [self._for_candidates(x) for x in op.inputs])]

    def _copied(self, op: tf.Operation, inputs: Iterable[Tensor]) -> list[Tensor]:
        return self.traced.copy(op, inputs, self.count.graph)

    def _copy(self, op: tf.Operation, inputs: list[Tensor]) -> list[Tensor]:
        """The outputs of a copy of `op`, with the shapes that Python code had told the graph."""
        copies = self._copied(op, inputs)
        for old, new in zip(op.outputs, copies, strict=True):
            new.set_shape(old.shape)
            if op.type == "LookupTableFindV2" and old.shape.rank == inputs[1].shape.rank:
                new.set_shape(inputs[1].shape)  # a table that is captured does not tell that it holds single values
        return copies

    def _for_candidates(self, tensor: Tensor) -> Tensor:
        """A traced tensor for every candidate."""
        value = self.values[tensor.name]
        if isinstance(value, (Constant, CandidateRows, ShiftedRows)):
            return value.tensor
        if tensor.name not in self.repeated:
            if isinstance(value, JoinedColumns):
                user = self._tile(value.user)
                self.repeated[tensor.name] = value.whole(user)
            elif (axis := rows_axis(tensor, value.tensor)) is not None:
                self.repeated[tensor.name] = self._tile(value.tensor, axis)
            else:  # not made of rows, such as a shape: it has to be computed from the repeated rows
                copies = self._copy(tensor.op, [self._for_candidates(x) for x in tensor.op.inputs])
                self.repeated[tensor.name] = copies[tensor.value_index]
        return self.repeated[tensor.name]

    def _tile(self, row: Tensor, axis: int = 0) -> Tensor:
        """`row`, repeated for every candidate."""
        ones = [1] * row.shape.rank
        return tf.tile(row, tf.stack([*ones[:axis], self.count, *ones[axis + 1 :]]))

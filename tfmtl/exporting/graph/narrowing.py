"""Leaving out what operations compute or read for heads that are not exported."""

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from tfmtl.exporting.graph.liveness import is_dead, liveness
from tfmtl.exporting.graph.traced_function import Tensors, TracedFunction
from tfmtl.typing import Tensor


class Narrowing:
    """What stands for some tensors of a graph in the function being traced, when only `fetched` counts.

    - A lookup of which some columns are dead (STEM keeps the tables of all tasks side by side) reads a smaller table,
      with zeros in the place of the dead columns.
    - A dead entry of a stack (the gates of all tasks that read the same experts) becomes a live one: the stack keeps its
      shape, and what the dead entry was computed from is not needed any more.

    Args:
        traced: the graph.
        fetched: its tensors that count.

    Attributes:
        tables: the smaller tables, filled by `insert`.
    """

    def __init__(self, traced: TracedFunction, fetched: Iterable[Tensor]):
        self.traced = traced
        self.live = liveness(traced, fetched)
        self.tables: dict[tuple[str, int, int], tf.Variable] = {}
        owners = {id(variable.handle): variable for variable in traced.variables}
        captured = {inside.name: owners.get(id(outside)) for outside, inside in traced.captures}
        self.lookups: dict[str, tf.Variable] = {}
        self.dead: dict[str, Tensor] = {}
        for op in traced.graph.get_operations():
            parts = [self.live.get(y.name) for y in op.outputs]
            if len(parts) != 1 or parts[0] is None or is_dead(parts[0]):
                continue
            if op.type in ("ResourceGather", "GatherV2") and not all(mask.all() for mask in parts[0].values()):
                self._note_lookup(op, captured)
            elif op.type == "Pack":
                alive = next(x for x in op.inputs if not is_dead(self.live[x.name]))
                self.dead |= {x.name: alive for x in op.inputs if is_dead(self.live[x.name])}

    def __bool__(self) -> bool:
        return bool(self.lookups or self.dead)

    def _note_lookup(self, op: tf.Operation, captured: Mapping[str, tf.Variable | None]) -> None:
        read = op.inputs[0].op
        handle = read.inputs[0] if read.type == "ReadVariableOp" else op.inputs[0]
        table = captured.get(handle.name)
        if table is not None and table.shape.rank == 2 and not op.get_attr("batch_dims"):
            self.lookups[op.outputs[0].name] = table

    def insert(self, given: Tensors, fetched: Iterable[Tensor]) -> list[Tensor]:
        """As `TracedFunction.insert`, without what is dead."""
        for name, table in self.lookups.items():
            found = self.traced.graph.get_tensor_by_name(name)
            (ids,) = self.traced.insert(given, [found.op.inputs[1]])
            given = {**given, name: self._look_up(table, ids, self.live[name][found.shape.rank - 1])}
        return self.traced.insert(given, fetched, self.dead)

    def _look_up(self, table: tf.Variable, ids: Tensor, mask: np.ndarray) -> Tensor:
        """The rows at `ids`, from one smaller table for every run of live columns."""
        pieces = []
        for start, stop in _runs(mask):
            key = (table.name, start, stop)
            if key not in self.tables:
                with tf.init_scope():
                    self.tables[key] = tf.Variable(table[:, start:stop], trainable=False)
            rows = tf.nn.embedding_lookup(self.tables[key], ids)
            pieces.append(tf.pad(rows, [(0, 0)] * (rows.shape.rank - 1) + [(start, len(mask) - stop)]))
        return tf.add_n(pieces) if len(pieces) > 1 else pieces[0]


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """The `[start, stop)` of every run of live columns."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]

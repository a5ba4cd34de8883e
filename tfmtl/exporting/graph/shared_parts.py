"""A traced model cut into functions that its signatures call, where copies would grow with tasks times signatures.

A server prepares every signature for itself, and for each it walks through the functions of all others too: with a copy of the
model in every task's signature both grow with the square of the tasks.

```
encoding    raw columns that all tasks need -> encoded ones          called by every signature that takes raw columns
core        encoded columns -> what all tasks read                   called by every signature
heads       what all tasks read -> all predictions                   called by those that answer for all tasks
```

What a task needs for itself alone stands in its own signature, so that this computes no more than before.
"""

from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from tfmtl.exporting.graph.called_function import CalledFunction
from tfmtl.exporting.graph.traced_function import Tensors, TracedFunction, tensors_read
from tfmtl.typing import Tensor


class CalledPart:
    """A part of a traced graph as a function of its own.

    Args:
        traced: the graph.
        given: tensors of the graph that are there already; those that the part does not need are not its inputs.
        fetched: tensors of the graph that it computes.
    """

    def __init__(self, traced: TracedFunction, given: Iterable[Tensor], fetched: Sequence[Tensor]):
        self.fetched = [tensor.name for tensor in fetched]
        there = {tensor.name: tensor for tensor in given}
        read = tensors_read(traced.needed_operations(fetched, there), fetched)
        self.given = [name for name in there if name in read]

        def compute(**tensors: Tensor) -> Tensors:
            replaced = {name: tensors[f"given_{place}"] for place, name in enumerate(self.given)}
            return {f"fetched_{place}": y for place, y in enumerate(traced.insert(replaced, fetched))}

        signature = {
            f"given_{place}": tf.TensorSpec(there[name].shape, there[name].dtype)
            for place, name in enumerate(self.given)
        }
        self.function = CalledFunction(compute, signature)

    def __call__(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Calls the part in the function being traced: the tensors that it fetches, by their names in the graph."""
        found = self.function(**{f"given_{place}": tensors[name] for place, name in enumerate(self.given)})
        return {name: found[f"fetched_{place}"] for place, name in enumerate(self.fetched)}


class SharedParts:
    """What the signatures of a traced model share.

    Args:
        traced: the graph, from raw columns to predictions.
        encoded: its encoded columns.
        outputs: its predictions.
    """

    def __init__(self, traced: TracedFunction, encoded: Sequence[Tensor], outputs: Sequence[Tensor]):
        needed_by = _needed_by(traced.operations, outputs)
        everyone = (1 << len(outputs)) - 1
        common = {op for op, tasks in needed_by.items() if tasks == everyone}
        columns = [tensor for tensor in encoded if tensor.op in common]
        border = _border(traced.operations, needed_by, common, encoded, outputs)
        self.encoding = CalledPart(traced, traced.inputs.values(), columns) if columns else None
        self.core = CalledPart(traced, encoded, border) if border else None
        self.heads = CalledPart(traced, [*encoded, *border], outputs)

    def common(self, tensors: Mapping[str, Tensor], *, encoded: bool) -> Tensors:
        """`tensors`, by their names in the graph, with what all tasks need of them.

        Args:
            tensors: the raw columns, or the encoded ones.
            encoded: which.
        """
        found = dict(tensors)
        if not encoded and self.encoding is not None:
            found |= self.encoding(found)
        if self.core is not None and all(name in found for name in self.core.given):
            found |= self.core(found)
        return found


def _needed_by(operations: Sequence[tf.Operation], outputs: Sequence[Tensor]) -> dict[tf.Operation, int]:
    """For each operation that an output depends on, which outputs do: a bit for each."""
    needed: dict[tf.Operation, int] = {}
    for place, output in enumerate(outputs):
        needed[output.op] = needed.get(output.op, 0) | 1 << place
    for op in reversed(operations):
        tasks = needed.get(op, 0)
        if tasks:
            for before in (*(x.op for x in op.inputs), *op.control_inputs):
                needed[before] = needed.get(before, 0) | tasks
    return needed


def _border(
    operations: Sequence[tf.Operation],
    needed_by: Mapping[tf.Operation, int],
    common: set[tf.Operation],
    encoded: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> list[Tensor]:
    """What the common operations hand on of all that they compute from columns; weights and constants are read anew."""
    columns = {tensor.op for tensor in encoded}
    computed: set[tf.Operation] = set()
    for op in operations:
        if op in columns or any(x.op in computed for x in op.inputs):
            computed.add(op)
    shared = common & computed - columns
    border = {tensor.name: tensor for tensor in outputs if tensor.op in shared}
    for op in operations:
        if op in needed_by and op not in common:
            border |= {x.name: x for x in op.inputs if x.op in shared}
    return list(border.values())

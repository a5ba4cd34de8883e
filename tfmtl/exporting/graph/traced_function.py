"""A traced computation whose parts can be built into other functions, each with only the operations it needs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.typing import Tensor

Tensors = dict[str, Tensor]
Signature = Mapping[str, tf.TensorSpec]


@dataclass(frozen=True)
class TracedFunction:
    """A function from named tensors to named tensors, as a graph of TensorFlow operations.

    Args:
        graph: the operations.
        inputs, outputs: its ends, by name.
        captures: `(outside, inside)`: a variable's handle, a table's handle or a constant, and where the graph reads it.
        variables: the variables whose handles are captured.
        folded: what is known of tensors of the graph, by name: the constant or the variable that is read in their place. What they
            are computed from is not needed any more (`fold_weights`).
    """

    graph: tf.Graph
    inputs: Tensors
    outputs: Tensors
    captures: tuple[tuple[Tensor, Tensor], ...]
    variables: tuple[tf.Variable, ...]
    folded: Mapping[str, np.ndarray | tf.Variable] = field(default_factory=dict)

    @cached_property
    def _captured(self) -> Tensors:
        """What is captured, by the name of the tensor that the graph reads it as."""
        return {inside.name: outside for outside, inside in self.captures}

    def from_outside(self, read: Iterable[str], into: tf.Graph) -> Tensors:
        """Of the tensors named in `read` those that come from outside, read into the function being traced, whose graph is `into`."""
        found = {}
        for name in sorted(read):
            if name in self._captured:
                found[name] = into.capture(self._captured[name])
            elif name in self.folded:
                found[name] = tf.convert_to_tensor(self.folded[name])
        return found

    @cached_property
    def operations(self) -> tuple[tf.Operation, ...]:
        """All operations, in the order in which they were created: what one reads comes before it."""
        return tuple(self.graph.get_operations())

    @cached_property
    def _definition(self) -> Any:
        return self.graph.as_graph_def()

    @cached_property
    def _nodes(self) -> dict[str, Any]:
        return {node.name: node for node in self._definition.node}

    def insert(
        self, replaced: Mapping[str, Tensor], fetched: Iterable[Tensor], into: tf.Graph | None = None
    ) -> list[Tensor]:
        """Copies the operations that `fetched` needs, and no others, into the function being traced.

        Args:
            replaced: for names of tensors of this graph, the tensors to use in their place; operations that only the
                replaced tensors needed are not copied.
            fetched: tensors of this graph.
            into: the graph of the function being traced, where nothing is replaced that would tell.

        Returns:
            The copies of `fetched`.
        """
        fetched = list(fetched)
        outer = next(iter(replaced.values())).graph if into is None else into
        operations = self.needed_operations(fetched, replaced)
        read = tensors_read(operations, fetched)
        mapped = {name: tensor for name, tensor in replaced.items() if name in read}
        mapped |= self.from_outside(read - mapped.keys(), outer)
        copied = [tensor.name for tensor in fetched if tensor.name not in mapped]
        if copied:
            part = self._part(self._nodes[op.name] for op in operations)
            inputs = {name: mapped[name] for name in tensors_read(operations, ()) if name in mapped}
            mapped |= zip(copied, tf.graph_util.import_graph_def(part, inputs, copied), strict=True)
        for tensor in fetched:
            mapped[tensor.name].set_shape(tensor.shape)  # which Python code may have told the graph
        return [mapped[tensor.name] for tensor in fetched]

    def copy(self, op: tf.Operation, inputs: Iterable[Tensor], into: tf.Graph) -> list[Tensor]:
        """The outputs of a copy of one operation that reads `inputs`, in the function being traced, whose graph is `into`."""
        inputs, node = list(inputs), self._nodes[op.name]
        if _called_functions([node], self._functions):
            mapped = {old.name: new for old, new in zip(op.inputs, inputs, strict=True)}
            return tf.graph_util.import_graph_def(self._part([node]), mapped, [y.name for y in op.outputs])
        # A tenth of the time that an import takes, which counts where each operation is copied by itself.
        attributes = {name: value for name, value in node.attr.items() if name != "_class"}
        dtypes = [y.dtype for y in op.outputs]
        return list(into.create_op(op.type, inputs, dtypes, attrs=attributes, name=op.name).outputs)

    def needed_operations(self, fetched: Iterable[Tensor], given: Iterable[str]) -> list[tf.Operation]:
        """The operations that `fetched` depends on when the tensors named in `given` are there already.

        In the order in which they were created: what an operation reads comes before it.
        """
        there = {*given, *self._captured, *self.folded}
        needed: set[tf.Operation] = set()
        waiting = [tensor.op for tensor in fetched if tensor.name not in there]
        while waiting:
            op = waiting.pop()
            if op not in needed:
                needed.add(op)
                waiting += [x.op for x in op.inputs if x.name not in there]
                waiting += [before for before in op.control_inputs if not all(y.name in there for y in before.outputs)]
        return [op for op in self.operations if op in needed]

    @cached_property
    def _functions(self) -> dict[str, Any]:
        """The functions that operations call, by name."""
        return {function.signature.name: function for function in self._definition.library.function}

    def _part(self, nodes: Iterable[Any]) -> Any:
        """`nodes` as a GraphDef; what they read from other nodes is named but missing."""
        nodes = list(nodes)
        part = type(self._definition)(node=nodes, versions=self._definition.versions)
        names = {node.name for node in nodes}
        for node in part.node:
            node.attr.pop("_class", None)  # colocation, perhaps with a node left behind
            kept = [name for name in node.input if not name.startswith("^") or name[1:] in names]
            node.ClearField("input")
            node.input.extend(kept)
        part.library.function.extend(
            self._functions[name] for name in sorted(_called_functions(nodes, self._functions))
        )
        return part


def trace(function: Callable[[Tensors], Tensors], signature: Signature) -> TracedFunction:
    """Traces `function` over tensors of the given types."""
    inputs: Tensors = {}
    outputs: Tensors = {}

    def recorded(**tensors: Tensor) -> Tensors:
        inputs.update(tensors)
        # An output may be an input; identities keep the two apart.
        outputs.update({name: tf.identity(tensor, name=name) for name, tensor in function(dict(tensors)).items()})
        return outputs

    concrete = concrete_function(recorded, signature)
    inside = concrete.inputs[len(concrete.inputs) - len(concrete.captured_inputs) :]
    captures = tuple(zip(concrete.captured_inputs, inside, strict=True))
    return TracedFunction(concrete.graph, inputs, outputs, captures, tuple(concrete.variables))


def concrete_function(function: Callable[..., Tensors], signature: Signature) -> Any:
    """`function(**tensors)` as a concrete function whose inputs are named as in `signature`."""
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in signature.items()}
    return tf.function(function, autograph=False).get_concrete_function(**specs)


def taking_a_dict(concrete: Any) -> Any:
    """A function of a dict of tensors, which calls a concrete function of named ones."""
    specs = concrete.structured_input_signature[1]
    return tf.function(lambda columns: concrete(**columns), input_signature=[specs], autograph=False)


def tensors_read(operations: Iterable[tf.Operation], fetched: Iterable[Tensor]) -> set[str]:
    """The names of all tensors that `operations` read, and of those that are fetched."""
    return {x.name for op in operations for x in op.inputs} | {tensor.name for tensor in fetched}


def _called_functions(nodes: Iterable[Any], library: Mapping[str, Any]) -> set[str]:
    """Names of the library's functions that `nodes` call, directly or not."""
    called: set[str] = set()
    waiting = list(nodes)
    while waiting:
        for value in waiting.pop().attr.values():
            for name in [value.func.name, *(function.name for function in value.list.func)]:
                if name in library and name not in called:
                    called.add(name)
                    waiting.extend(library[name].node_def)
    return called

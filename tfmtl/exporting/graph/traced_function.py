"""A traced computation whose parts can be built into other functions, each with only the operations it needs."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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
    """

    graph: tf.Graph
    inputs: Tensors
    outputs: Tensors
    captures: tuple[tuple[Tensor, Tensor], ...]
    variables: tuple[tf.Variable, ...]

    def insert(
        self, replaced: Mapping[str, Tensor], fetched: Iterable[Tensor], instead: Mapping[str, Tensor] | None = None
    ) -> list[Tensor]:
        """Copies the operations that `fetched` needs, and no others, into the function being traced.

        Args:
            replaced: for names of tensors of this graph, the tensors to use in their place; operations that only the
                replaced tensors needed are not copied.
            fetched: tensors of this graph.
            instead: for names of tensors of this graph other ones to read in their place.

        Returns:
            The copies of `fetched`.
        """
        fetched = list(fetched)
        outer = next(iter(replaced.values())).graph
        handles = {inside.name: outside for outside, inside in self.captures}
        instead = instead or {}
        needed = needed_operations(fetched, {*replaced, *handles}, instead)
        read = {instead.get(x.name, x).name for op in needed for x in op.inputs} | {tensor.name for tensor in fetched}
        mapped = {name: tensor for name, tensor in replaced.items() if name in read}
        mapped |= {name: outer.capture(handle) for name, handle in handles.items() if name in read}
        copied = [tensor.name for tensor in fetched if tensor.name not in mapped]
        whole, names = self.graph.as_graph_def(), {op.name for op in needed}
        part = _part(whole, (node for node in whole.node if node.name in names), instead)
        copies = tf.graph_util.import_graph_def(part, mapped, copied) if copied else []
        mapped |= zip(copied, copies, strict=True)
        return [mapped[tensor.name] for tensor in fetched]


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


def needed_operations(
    fetched: Iterable[Tensor], given: Container[str], instead: Mapping[str, Tensor] | None = None
) -> set[tf.Operation]:
    """The operations that `fetched` depends on when the tensors named in `given` are there already."""
    instead = instead or {}
    needed: set[tf.Operation] = set()
    waiting = [tensor.op for tensor in fetched if tensor.name not in given]
    while waiting:
        op = waiting.pop()
        if op not in needed:
            needed.add(op)
            inputs = [instead.get(x.name, x) for x in op.inputs]
            waiting.extend(x.op for x in inputs if x.name not in given)
            waiting.extend(before for before in op.control_inputs if not all(y.name in given for y in before.outputs))
    return needed


class Copier:
    """Copies single operations of a trace into the function being traced."""

    def __init__(self, traced: TracedFunction):
        self.whole = traced.graph.as_graph_def()
        self.nodes = {node.name: node for node in self.whole.node}

    def copy(self, op: tf.Operation, inputs: Iterable[Tensor]) -> list[Tensor]:
        """The outputs of a copy of `op` that reads `inputs`."""
        mapped = {old.name: new for old, new in zip(op.inputs, inputs, strict=True)}
        return tf.graph_util.import_graph_def(
            _part(self.whole, [self.nodes[op.name]]), mapped, [y.name for y in op.outputs]
        )


def _part(whole: Any, nodes: Iterable[Any], instead: Mapping[str, Tensor] | None = None) -> Any:
    """`nodes` of the GraphDef `whole` as a GraphDef; what they read from other nodes is named but missing."""
    nodes = list(nodes)
    part = type(whole)(node=nodes, versions=whole.versions)
    names = {node.name for node in nodes}
    others = {name.removesuffix(":0"): tensor.name.removesuffix(":0") for name, tensor in (instead or {}).items()}
    for node in part.node:
        node.attr.pop("_class", None)  # colocation, perhaps with a node left behind
        kept = [others.get(name, name) for name in node.input if not name.startswith("^") or name[1:] in names]
        node.ClearField("input")
        node.input.extend(kept)
    called = _called_functions(nodes, {function.signature.name: function for function in whole.library.function})
    part.library.function.extend(function for function in whole.library.function if function.signature.name in called)
    return part


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

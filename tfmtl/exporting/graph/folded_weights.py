"""What a graph computes from its weights and constants alone, computed before it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tfmtl.exporting.graph.traced_function import TracedFunction, concrete_function, tensors_read
from tfmtl.typing import Tensor

_FEW = 1024
"""Numbers of a constant that is computed beforehand at most; a larger one is rather computed than written out."""


def fold_weights(function: TracedFunction, outputs: Sequence[Tensor]) -> TracedFunction:
    """The same function, which reads what was computed from weights alone from one variable, and from constants as a constant.

    Kernels that lie transposed for training's sake, experts of many layers joined for one product, weights cast to half precision:
    a server would do it anew for every request, and hand every weight of it to every signature. With sixty tasks these are 190
    weights in place of 10, and half of the time that it takes to write a version and to start it.

    What would take more room than the weights it is made of is left as it is.

    Args:
        function: the graph.
        outputs: those of its tensors that are wanted.
    """
    operations = function.needed_operations(outputs, ())
    made_of = _made_of_weights(operations)
    others = [op for op in operations if not all(y.name in made_of for y in op.outputs)]
    read = tensors_read(others, outputs)
    found = [y for op in operations for y in op.outputs if y.name in read and _is_worth_folding(y, made_of)]
    if not found:
        return function
    values = concrete_function(lambda: dict(zip(_names(found), function.insert({}, found), strict=True)), {})()
    folded = dict(function.folded)
    for name, tensor in zip(_names(found), found, strict=True):
        folded[tensor.name] = _weight(values[name], tensor) if made_of[tensor.name] else values[name].numpy()
    weights = [value for value in folded.values() if isinstance(value, tf.Variable)]
    return replace(function, variables=(*function.variables, *weights), folded=folded)


def _names(tensors: Sequence[Tensor]) -> list[str]:
    return [f"folded_{place}" for place in range(len(tensors))]


def _weight(value: Tensor, tensor: Tensor) -> Any:
    """A variable that holds `value`, named after the layer that `tensor` is computed in."""
    return tf.Variable(value, trainable=False, name=tensor.op.name.rpartition("/")[0] or None)


def _made_of_weights(operations: Sequence[tf.Operation]) -> dict[str, frozenset[str]]:
    """For each tensor that depends on weights and constants alone, by name, the names of the weights as they are read."""
    found: dict[str, frozenset[str]] = {}
    for op in operations:
        if op.type == "ReadVariableOp":
            found[op.outputs[0].name] = frozenset([op.outputs[0].name])
        elif op.type == "Const":
            found[op.outputs[0].name] = frozenset()
        elif op.inputs and not op.op_def.is_stateful and all(x.name in found for x in op.inputs):
            weights = frozenset[str]().union(*(found[x.name] for x in op.inputs))
            found |= dict.fromkeys((y.name for y in op.outputs), weights)
    return found


def _is_worth_folding(tensor: Tensor, made_of: Mapping[str, frozenset[str]]) -> bool:
    """Whether `tensor` is computed from weights, and is no larger than they are together; or from constants, and is small."""
    numbers = tensor.shape.num_elements()
    if tensor.name not in made_of or numbers is None or _as_it_is_read(tensor):
        return False
    weights = [tensor.graph.get_tensor_by_name(name) for name in made_of[tensor.name]]
    if not weights:
        return numbers <= _FEW and (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool)
    sizes = [weight.shape.num_elements() for weight in weights]
    return tensor.dtype.is_floating and None not in sizes and numbers <= sum(sizes)


def _as_it_is_read(tensor: Tensor) -> bool:
    """Whether it is a weight or a constant, and not computed from one."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor.op.type in ("ReadVariableOp", "Const")

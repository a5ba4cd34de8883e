"""What a graph computes from its weights and constants alone, computed before it is written."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tfmtl.exporting.graph.traced_function import TracedFunction, concrete_function, tensors_read
from tfmtl.typing import Tensor

_READ = "ReadVariableOp"

_READS = (_READ, "ResourceGather", "ResourceGatherNd")
"""Operations that leave a variable as it is."""

_FEW = 1024
"""Numbers of a constant that is computed beforehand at most; a larger one is rather computed than written out."""


def fold_weights(function: TracedFunction, outputs: Sequence[Tensor]) -> TracedFunction:
    """The same function, which reads what was computed from weights alone from one variable, and from constants as a constant.

    Kernels that lie transposed for training's sake, experts of many layers joined for one product, weights cast to half precision:
    a server would do it anew for every request, and hand every weight of it to every signature. In a PLE of sixty tasks the part that
    all signatures call reads 6 weights in place of 190, which halves the time to write a version and to start it.

    What would take more room than the weights that are no longer read is left as it is, such as a table that is looked up and also
    multiplied with, transposed.

    Args:
        function: the graph.
        outputs: those of its tensors that are wanted.
    """
    operations = function.needed_operations(outputs, ())
    made_of = _made_of_weights(operations)
    others = [op for op in operations if not all(y.name in made_of for y in op.outputs)]
    read = tensors_read(others, outputs)
    computed = [y for op in operations for y in op.outputs if y.name in read and y.name in made_of]
    # Rows of a table are read by its handle, other weights by their value.
    kept = read.union(*(made_of[y.name] for y in computed if _as_it_is_read(y)))
    sizes = {op.inputs[0].name: op.outputs[0].shape.num_elements() for op in operations if op.type == _READ}
    found = [y for y in computed if _is_worth_folding(y, {name: sizes[name] for name in made_of[y.name]}, kept)]
    if not found:
        return function
    folded = dict(function.folded)
    for tensor, value in zip(found, _values(function, found), strict=True):
        folded[tensor.name] = _weight(value, tensor) if made_of[tensor.name] else value.numpy()
    weights = [value for value in folded.values() if isinstance(value, tf.Variable)]
    return replace(function, variables=(*function.variables, *weights), folded=folded)


def _values(function: TracedFunction, tensors: Sequence[Tensor]) -> list[Tensor]:
    """What these tensors of the graph are, which depend on none of its inputs."""
    names = [f"folded_{place}" for place in range(len(tensors))]

    def compute(anything: Tensor) -> dict[str, Tensor]:  # which tells the graph
        return dict(zip(names, function.insert({}, tensors, into=anything.graph), strict=True))

    values = concrete_function(compute, {"anything": tf.TensorSpec((), tf.float32)})(anything=tf.constant(0.0))
    return [values[name] for name in names]


def _weight(value: Tensor, tensor: Tensor) -> Any:
    """A variable that holds `value`, named after the layer that `tensor` is computed in."""
    return tf.Variable(value, trainable=False, name=tensor.op.name.rpartition("/")[0] or None)


def _made_of_weights(operations: Sequence[tf.Operation]) -> dict[str, frozenset[str]]:
    """For each tensor that depends on weights and constants alone, by name, the names of the weights' handles."""
    found: dict[str, frozenset[str]] = {}
    # Whatever else is given a variable, such as a function that is called, may change it.
    changed = {x.name for op in operations if op.type not in _READS for x in op.inputs}
    for op in operations:
        if op.type == _READ and op.inputs[0].name not in changed:
            found[op.outputs[0].name] = frozenset([op.inputs[0].name])
        elif op.type == "Const":
            found[op.outputs[0].name] = frozenset()
        elif op.inputs and not op.op_def.is_stateful and all(x.name in found for x in op.inputs):
            weights = frozenset[str]().union(*(found[x.name] for x in op.inputs))
            found |= dict.fromkeys((y.name for y in op.outputs), weights)
    return found


def _is_worth_folding(tensor: Tensor, weights: Mapping[str, int | None], kept: Set[str]) -> bool:
    """Whether `tensor` is computed from weights, and is no larger than those of them that are not kept; or from constants, and is small.

    Args:
        tensor: of the graph.
        weights: what it is computed from, with their numbers.
        kept: weights that are read all the same.
    """
    numbers = tensor.shape.num_elements()
    if numbers is None or _as_it_is_read(tensor):
        return False
    if not weights:
        return numbers <= _FEW and (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool)
    freed = [size or 0 for name, size in weights.items() if name not in kept]
    return tensor.dtype.is_floating and numbers <= sum(freed)


def _as_it_is_read(tensor: Tensor) -> bool:
    """Whether it is a weight or a constant, and not computed from one."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor.op.type in (_READ, "Const")

"""A function that several others call."""

from collections.abc import Callable, Iterable

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2

from tfmtl.exporting.graph.traced_function import Signature, Tensors
from tfmtl.typing import Tensor


class CalledFunction:
    """A traced function, which other functions call without a look inside.

    To know the shapes of what a called function answers, TensorFlow builds its graph once more for each caller, and again for what
    calls that, and keeps them as long as the callers: with sixty tasks a tenth of a gigabyte as they are written. The shapes are
    known here.

    Args:
        function: from tensors by name to tensors by name.
        signature: the types of what it is given.
    """

    def __init__(self, function: Callable[..., Tensors], signature: Signature):
        self._names = list(signature)

        def listed(tensors: list[Tensor]) -> Tensors:
            return function(**dict(zip(self._names, tensors, strict=True)))

        specs = [tf.TensorSpec(spec.shape, spec.dtype) for spec in signature.values()]
        self.function = tf.function(listed, autograph=False).get_concrete_function(specs)
        self._type = (
            "StatefulPartitionedCall" if self.function.function_def.signature.is_stateful else "PartitionedCall"
        )

    def __call__(self, **tensors: Tensor) -> Tensors:
        """What it answers to `tensors`, in the function being traced."""
        graph = next(iter(tensors.values())).graph
        self.function.add_to_graph(graph)
        inputs = [*(tensors[name] for name in self._names), *map(graph.capture, self.function.captured_inputs)]
        outputs = self.function.outputs
        attributes = {
            "Tin": _types(inputs),
            "Tout": _types(outputs),
            "f": attr_value_pb2.AttrValue(func=attr_value_pb2.NameAttrList(name=self.function.name)),
            "_disable_call_shape_inference": attr_value_pb2.AttrValue(b=True),
        }
        answers = graph.create_op(self._type, inputs, [y.dtype for y in outputs], attrs=attributes).outputs
        for answer, inside in zip(answers, outputs, strict=True):
            answer.set_shape(inside.shape)
        return tf.nest.pack_sequence_as(self.function.structured_outputs, answers)


def _types(tensors: Iterable[Tensor]) -> attr_value_pb2.AttrValue:
    types = [tensor.dtype.as_datatype_enum for tensor in tensors]
    return attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(type=types))

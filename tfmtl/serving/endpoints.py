"""The signatures of an exported model."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

from tfmtl.keras_host import keras
from tfmtl.serving.graphs import Signature, Tensors, Trace, concrete_function, trace
from tfmtl.serving.rows import Rows, tensors
from tfmtl.typing import Encoded, Predictions, Tensor


class Encoder(Protocol):
    """What turns raw columns into what the model reads; `tfmtl.data.Preprocessor` is one."""

    @property
    def raw_signature(self) -> dict[str, tf.TensorSpec]:
        """The raw columns."""

    @property
    def encoded_signature(self) -> dict[str, tf.TensorSpec]:
        """The encoded columns."""

    def __call__(self, x: Mapping[str, Any], /) -> Encoded:
        """`x` encoded."""


@dataclass(frozen=True)
class Endpoint:
    """A signature, and how rows are asked through it.

    Args:
        function: the signature.
        ask: the inputs that ask for some rows.
        meant: the rows that those inputs stand for, where they are not the rows themselves.
        read: predictions by task from the outputs.
    """

    function: Any
    ask: Callable[[Rows], Tensors]
    meant: Callable[[Rows], Rows] = lambda rows: rows
    read: Callable[[Tensors], Predictions] = lambda outputs: outputs


@dataclass(frozen=True)
class Whole:
    """Preprocessing and model in one graph, from raw columns by way of encoded ones to predictions."""

    traced: Trace
    encoded: Tensors
    raw_signature: Signature
    encoded_signature: Signature

    def predict(self, given: Mapping[str, Tensor], tasks: Iterable[str], *, encoded: bool = False) -> Predictions:
        """Adds to the function being traced what predicts `tasks` from raw (or encoded) columns, and no more."""
        tasks = tuple(tasks)
        ends = self.encoded if encoded else self.traced.inputs
        replaced = {ends[name].name: tensor for name, tensor in given.items()}
        return dict(
            zip(tasks, self.traced.insert(replaced, [self.traced.outputs[task] for task in tasks]), strict=True)
        )


def trace_whole(model: keras.Model, preprocessor: Encoder) -> Whole:
    """Traces `model(preprocessor(columns))`."""
    encoded: Tensors = {}

    def predict(columns: Tensors) -> Predictions:
        # An encoded column may be the raw one itself; identities keep the two apart.
        encoded.update({name: tf.identity(column) for name, column in preprocessor(columns).items()})
        return model(dict(encoded), training=False)

    traced = trace(predict, preprocessor.raw_signature)
    return Whole(traced, encoded, preprocessor.raw_signature, preprocessor.encoded_signature)


def build_endpoints(whole: Whole, preprocessor: Encoder, tasks: tuple[str, ...]) -> dict[str, Endpoint]:
    """The signatures by name."""

    def ask_raw(rows: Rows) -> Tensors:
        return tensors(rows, whole.raw_signature)

    def ask_encoded(rows: Rows) -> Tensors:
        return preprocessor(ask_raw(rows))

    def served(names: Iterable[str], signature: Signature, *, encoded: bool = False) -> Any:
        return concrete_function(lambda **columns: whole.predict(columns, names, encoded=encoded), signature)

    return {
        "serving_default": Endpoint(served(tasks, whole.raw_signature), ask_raw),
        "serving_ids": Endpoint(served(tasks, whole.encoded_signature, encoded=True), ask_encoded),
    }

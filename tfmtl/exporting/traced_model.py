"""What an exported signature is, and the graph that all of them are cut from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import tensorflow as tf

from tfmtl.exporting.example_rows import RawRows
from tfmtl.exporting.graph.narrowing import Narrowing
from tfmtl.exporting.graph.traced_function import Signature, Tensors, TracedFunction, trace
from tfmtl.exporting.score import SCORE, Score
from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.typing import Encoded, Predictions, Tensor


class Encoder(Protocol):
    """What turns raw columns into what the model reads; `tfmtl.data.Preprocessor` is one.

    Lookup tables must be reachable from it, so it is a `tf.Module` or a Keras layer if it has any.
    """

    @property
    def raw_signature(self) -> dict[str, tf.TensorSpec]:
        """The raw columns."""

    @property
    def encoded_signature(self) -> dict[str, tf.TensorSpec]:
        """The encoded columns."""

    def __call__(self, x: Mapping[str, Any], /) -> Encoded:
        """`x` encoded."""


@dataclass(frozen=True)
class TracedModel:
    """Preprocessing and model in one graph, from raw columns by way of encoded ones to predictions.

    Args:
        function: the graph.
        encoded: its encoded columns.
        raw_signature, encoded_signature: the types of both.
        tasks: the predictions to serve.
        score: what to add to them.
    """

    function: TracedFunction
    encoded: Tensors
    raw_signature: Signature
    encoded_signature: Signature
    tasks: tuple[str, ...]
    score: Score | None

    def predict(self, given: Mapping[str, Tensor], tasks: Iterable[str], *, encoded: bool = False) -> Predictions:
        """Adds to the function being traced what predicts `tasks` from raw (or encoded) columns, and no more."""
        tasks = tuple(tasks)
        ends = self.encoded if encoded else self.function.inputs
        replaced = {ends[name].name: tensor for name, tensor in given.items()}
        fetched = [self.function.outputs[task] for task in tasks]
        dead = Narrowing(self.function, fetched).dead if len(tasks) < len(self.tasks) else {}
        return dict(zip(tasks, self.function.insert(replaced, fetched, dead), strict=True))

    def scored(self, predictions: Predictions, weights: Mapping[str, Tensor] | None = None) -> Predictions:
        """`predictions` with the score."""
        return predictions if self.score is None else {**predictions, SCORE: self.score(predictions, weights)}


def predictions(model: keras.Model, encoded: Encoded) -> Predictions:
    """What a functional `model` says to encoded columns; those that it does not read, such as a mask, are kept from it."""
    return model({name: encoded[name] for name in inputs_by_name(model)}, training=False)


def trace_model(model: keras.Model, preprocessor: Encoder, tasks: tuple[str, ...], score: Score | None) -> TracedModel:
    """Traces `model(preprocessor(columns))`."""
    encoded: Tensors = {}

    def predict(columns: Tensors) -> Predictions:
        # An encoded column may be the raw one itself; identities keep the two apart.
        encoded.update({name: tf.identity(column) for name, column in preprocessor(columns).items()})
        return predictions(model, encoded)

    traced = trace(predict, preprocessor.raw_signature)
    whole = TracedModel(traced, encoded, preprocessor.raw_signature, preprocessor.encoded_signature, tasks, score)
    narrowing = Narrowing(traced, [traced.outputs[task] for task in tasks])
    return _narrowed(whole, narrowing) if narrowing else whole


def _narrowed(whole: TracedModel, narrowing: Narrowing) -> TracedModel:
    """The same, without what only other tasks need."""
    old = whole.function
    encoded: Tensors = {}

    def predict(columns: Tensors) -> Predictions:
        raw = {old.inputs[name].name: tensor for name, tensor in columns.items()}
        encoded.update(zip(whole.encoded, old.insert(raw, whole.encoded.values()), strict=True))
        given = {tensor.name: encoded[name] for name, tensor in whole.encoded.items()}
        copies = narrowing.insert(given, [old.outputs[task] for task in whole.tasks])
        return dict(zip(whole.tasks, copies, strict=True))

    traced = trace(predict, whole.raw_signature)
    variables = (*old.variables, *narrowing.tables.values())
    return replace(whole, function=replace(traced, variables=variables), encoded=encoded)

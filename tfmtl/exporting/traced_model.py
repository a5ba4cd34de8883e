"""Preprocessing and model in one graph, which every signature of an export is cut from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import tensorflow as tf

from tfmtl.exporting.graph.folded_weights import fold_weights
from tfmtl.exporting.graph.shared_parts import SharedParts
from tfmtl.exporting.graph.traced_function import Signature, Tensors, TracedFunction, tensors_read, trace
from tfmtl.exporting.score import SCORE, Score
from tfmtl.keras_host import keras
from tfmtl.typing import Encoded, Predictions, SeparableStreams, Tensor


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
    """From raw columns by way of encoded ones to predictions.

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

    def shared_parts(self) -> SharedParts:
        """Functions for signatures to share."""
        return SharedParts(self.function, list(self.encoded.values()), self.outputs(self.tasks))

    def outputs(self, tasks: Iterable[str]) -> list[Tensor]:
        """The tensors of the graph that hold the predictions of `tasks`."""
        return [self.function.outputs[task] for task in tasks]

    def predict(
        self, parts: SharedParts, given: Mapping[str, Tensor], tasks: tuple[str, ...], *, encoded: bool = False
    ) -> Predictions:
        """Adds to the function being traced what predicts `tasks` from raw (or encoded) columns by way of `parts`, and no more."""
        ends = self.encoded if encoded else self.function.inputs
        there = parts.common({ends[name].name: tensor for name, tensor in given.items()}, encoded=encoded)
        if tasks == self.tasks and all(name in there for name in parts.heads.given):
            there |= parts.heads(there)
        return dict(zip(tasks, self.function.insert(there, self.outputs(tasks)), strict=True))

    def scored(self, predictions: Predictions, weights: Mapping[str, Tensor] | None = None) -> Predictions:
        """`predictions` with the score."""
        return with_score(predictions, self.score, weights)


def with_score(
    predictions: Predictions, score: Score | None, weights: Mapping[str, Tensor] | None = None
) -> Predictions:
    """`predictions` with the score, if there is one."""
    return predictions if score is None else {**predictions, SCORE: score(predictions, weights)}


def trace_model(
    model: keras.Model,
    inputs: Mapping[str, Any],
    preprocessor: Encoder,
    tasks: tuple[str, ...],
    score: Score | None = None,
) -> TracedModel:
    """Traces `model(preprocessor(columns))` for `tasks`; layers give no streams that these tasks do not read.

    Args:
        model: a functional model from encoded columns to `{task: tensor}`.
        inputs: its symbolic inputs by name; encoded columns that it does not read, such as a mask, are kept from it.
        preprocessor: what encodes raw columns.
        tasks: the predictions to serve.
        score: what to add to them.
    """
    layers = _separable_layers(model, inputs)
    streams = [_streams_of(layer) for layer in layers]
    wanted = {task: model.output[task] for task in tasks}
    with_streams = keras.Model(dict(inputs), [*wanted.values(), *tf.nest.flatten(streams)])
    encoded: Tensors = {}
    inside: list[Tensor] = []

    def predict(columns: Tensors) -> Predictions:
        # An encoded column may be the raw one itself; identities keep the two apart.
        encoded.update({name: tf.identity(column) for name, column in preprocessor(columns).items()})
        found = tf.nest.flatten(with_streams({name: encoded[name] for name in inputs}, training=False))
        answers, inside[:] = found[: len(tasks)], found[len(tasks) :]
        return dict(zip(tasks, answers, strict=True))

    function = trace(predict, preprocessor.raw_signature)
    traced = TracedModel(function, encoded, preprocessor.raw_signature, preprocessor.encoded_signature, tasks, score)
    traced = _without_unread_streams(traced, zip(layers, tf.nest.pack_sequence_as(streams, inside), strict=True))
    return replace(traced, function=fold_weights(traced.function, traced.outputs(tasks)))


def _separable_layers(model: keras.Model, inputs: Mapping[str, Any]) -> list[Any]:
    """The layers of a functional model that read its inputs as they are and give streams of which some may be left out."""
    read = {id(x) for x in inputs.values()}
    layers: list[Any] = [layer for layer in model.layers if isinstance(layer, SeparableStreams)]
    return [layer for layer in layers if all(id(x) in read for x in tf.nest.flatten(layer.input))]


def _streams_of(layer: Any) -> dict[str, list[Any]]:
    """A layer's symbolic outputs, stream by stream: a host hands them out in the order of the sorted names."""
    names, outputs = sorted(layer.streams), tf.nest.flatten(layer.output)
    size = len(outputs) // len(names)
    return {name: outputs[place * size : (place + 1) * size] for place, name in enumerate(names)}


def _without_unread_streams(traced: TracedModel, found: Iterable[tuple[Any, dict[str, list[Tensor]]]]) -> TracedModel:
    """The same, each layer replaced by one that gives those of its streams alone that predictions depend on."""
    function, outputs = traced.function, traced.outputs(traced.tasks)
    read = tensors_read(function.needed_operations(outputs, ()), outputs)
    replacing: list[tuple[Callable[[Encoded], Any], dict[str, list[Tensor]]]] = []
    for layer, streams in found:
        needed = [name for name, tensors in streams.items() if any(tensor.name in read for tensor in tensors)]
        if 0 < len(needed) < len(streams):
            replacing.append((layer.for_streams(needed), streams))
    if not replacing:
        return traced
    encoded: Tensors = {}

    def predict(columns: Tensors) -> Predictions:
        raw = {function.inputs[name].name: tensor for name, tensor in columns.items()}
        encoded.update(zip(traced.encoded, function.insert(raw, traced.encoded.values()), strict=True))
        replaced = {traced.encoded[name].name: tensor for name, tensor in encoded.items()}
        for part, streams in replacing:
            for name, given in part(encoded).items():
                replaced |= zip((tensor.name for tensor in streams[name]), tf.nest.flatten(given), strict=True)
        return dict(zip(traced.tasks, function.insert(replaced, outputs), strict=True))

    again = trace(predict, traced.raw_signature)
    variables = (*function.variables, *again.variables)
    return replace(traced, function=replace(again, variables=variables), encoded=encoded)

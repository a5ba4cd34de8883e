"""The Keras this process runs on: Keras 3, or tf_keras when TF_USE_LEGACY_KERAS=1.

TensorFlow makes the same choice for `tf.keras`, so a tfmtl layer always fits the models around it.
`ops` is Keras 3's in both cases: inside a tf_keras layer it works on plain TensorFlow tensors.
Everything that differs between the two generations is in this file and nowhere else.
"""

import functools
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

LEGACY = os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true")

if LEGACY:
    import keras as keras3
    import tf_keras as keras

    if keras3.config.backend() != "tensorflow":
        raise ImportError(
            "TF_USE_LEGACY_KERAS=1 needs the TensorFlow backend. "
            f"Received: KERAS_BACKEND={keras3.config.backend()}. Unset one of the two."
        )
else:
    import keras

from keras import ops  # noqa: E402  (Keras 3, whatever `keras` names above)
from keras.backend import standardize_dtype  # noqa: E402

C = TypeVar("C", bound=type)

BACKEND: str = "tensorflow" if LEGACY else keras.config.backend()
"""The array library under the layers: "tensorflow", "jax" or "torch"."""


def register(cls: C) -> C:
    """Class decorator: makes a layer, loss, metric or optimizer loadable from a `.keras` file once `tfmtl` is imported."""
    return keras.saving.register_keras_serializable("tfmtl")(cls)


def register_freezable(cls: C) -> C:
    """`register` for a layer that builds weights; it also wraps `build`, so that a layer can be frozen before it is built.

    A layer from a file may be frozen so. By themselves the weights and layers that it then makes would be trained.
    """
    made: Any = cls
    made.build = _freezing(made.build)
    return register(cls)


def _freezing(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def built(self: Any, *arguments: Any, **shapes: Any) -> None:
        build(self, *arguments, **shapes)
        if not self.trainable:
            self.trainable = True  # or Keras 3 takes the next line for no change
            self.trainable = False

    return built


class _Added(threading.local):
    """What layers added in the step that this thread computes, by model: each replica is a thread of its own."""

    def __init__(self) -> None:
        self.of: dict[int, list[Any]] = {}


_ADDED = _Added()


@register
class NamedModel(keras.Model):
    """A functional model that takes labels, sample weights and losses by the names of its outputs, and not by position.

    Keras deals a list out to the keys of a dict in the order of the alphabet, whatever order the schema has.

    What layers add by `add_loss` is read before the losses of the tasks. These wait for the other replicas of a
    `MirroredStrategy`, which run the same layers in turn: afterwards Keras 3 would find what the last one added.
    """

    @property
    def losses(self) -> list[Any]:
        held = _ADDED.of.get(id(self))
        return super().losses if held is None else held

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **options: Any
    ) -> Any:
        tasks = list(self.output) if isinstance(self.output, dict) else []
        if len(tasks) > 1:
            self._refuse_position("The labels", y, tasks, not isinstance(y, Mapping))
            self._refuse_position("The sample weights", sample_weight, tasks, isinstance(sample_weight, list | tuple))
            self._refuse_position("`loss` of `compile`", self.loss, tasks, isinstance(self.loss, list | tuple))
        _ADDED.of[id(self)] = list(self.losses)
        try:
            return super().compute_loss(x, y, y_pred, sample_weight, **options)
        finally:
            del _ADDED.of[id(self)]

    def _refuse_position(self, what: str, given: Any, tasks: list[str], refused: bool) -> None:
        if refused:
            # Keras keeps a step that failed while it was traced, and would fail in it again whatever it is given then.
            self.train_function = self.test_function = None
            form = f"{len(given)} in a list or tuple" if isinstance(given, list | tuple) else type(given).__name__
            raise ValueError(
                f"{what} must be a dict by task, of {tasks}: Keras deals a list out in the order of the alphabet. "
                f"Received: {form}"
            )


def model_by_name(inputs: dict[str, Any], outputs: dict[str, Any], name: str) -> keras.Model:
    """A functional model that takes `{column: tensor}` and finds its columns by name, whatever else is in the dict.

    A model that is declared over a dict makes Keras 3 sort the keys that it is given and take them by position: one column
    too many, and the model reads others' values. Declared over a list, it looks up the name of each `keras.Input`.

    tf_keras logs losses and metrics under the name of the layer that an output comes from, so each gets a layer of its own,
    named like it where no other layer is.
    """
    model = NamedModel(list(inputs.values()), outputs, name=name)
    if not LEGACY:
        return model
    taken = {layer.name for layer in model.layers}
    named = {key: key if key not in taken else f"{key}_output" for key in outputs}
    outputs = {
        key: keras.layers.Activation("linear", name=named[key], dtype="float32")(outputs[key]) for key in outputs
    }
    return NamedModel(list(inputs.values()), outputs, name=name)


def inputs_by_name(model: keras.Model) -> dict[str, Any]:
    """The symbolic inputs of a functional model: by their keys if it was declared over a dict, else by their own names.

    Empty for a model that declares none.
    """
    declared = getattr(model, "input", None)  # which some hosts' Sequential has not
    if isinstance(declared, dict):
        return dict(declared)
    return {column.name: column for column in getattr(model, "inputs", None) or []}


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers of a model, those inside of layers too: each once, an outer one before those inside of it.

    No public name that both hosts have lists the layers inside of a layer. They are its attributes, alone or in
    containers: what Keras itself goes by.
    """
    found: dict[int, keras.layers.Layer] = {}

    def visit(value: Any) -> None:
        if isinstance(value, keras.layers.Layer) and not isinstance(value, keras.metrics.Metric):
            if id(value) not in found:
                found[id(value)] = value
                visit(value.layers if isinstance(value, keras.Model) else ())
                visit(vars(value))
        elif isinstance(value, Mapping):
            visit(list(value.values()))
        elif isinstance(value, list | tuple | set):
            for item in value:
                visit(item)

    visit(model)
    return list(found.values())[1:]


def add_uncast(layer: keras.layers.Layer, name: str, shape: tuple[int, ...], initializer: Any, **kwargs: Any) -> Any:
    """Adds a weight that mixed precision never casts: whoever reads it casts what is made of it."""
    keep = "experimental_autocast" if LEGACY else "autocast"
    return layer.add_weight(name=name, shape=shape, initializer=initializer, **{keep: False}, **kwargs)


def raw(variable: Any) -> Any:
    """The backend's own variable: what a Keras 3 variable wraps, and what tf_keras has in the first place."""
    return variable if LEGACY or not isinstance(variable, keras.Variable) else variable.value


def dtype_of(tensor: Any) -> str:
    """The name of a tensor's dtype, the same on every backend."""
    return standardize_dtype(tensor.dtype)


__all__ = [
    "BACKEND",
    "LEGACY",
    "NamedModel",
    "add_uncast",
    "dtype_of",
    "inputs_by_name",
    "keras",
    "layers_of",
    "model_by_name",
    "ops",
    "raw",
    "register",
    "register_freezable",
]

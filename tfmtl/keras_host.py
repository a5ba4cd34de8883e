"""The Keras this process runs on: Keras 3, or tf_keras when TF_USE_LEGACY_KERAS=1.

TensorFlow makes the same choice for `tf.keras`, so a tfmtl layer always fits the models around it.
`ops` is Keras 3's in both cases: inside a tf_keras layer it works on plain TensorFlow tensors.
Everything that differs between the two generations is in this file and nowhere else.
"""

import functools
import os
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
    "add_uncast",
    "dtype_of",
    "inputs_by_name",
    "keras",
    "layers_of",
    "ops",
    "raw",
    "register",
    "register_freezable",
]

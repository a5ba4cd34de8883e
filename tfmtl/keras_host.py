"""The Keras this process runs on: Keras 3, or tf_keras when TF_USE_LEGACY_KERAS=1.

TensorFlow makes the same choice for `tf.keras`, so a tfmtl layer always fits the models around it.
`ops` is Keras 3's in both cases: inside a tf_keras layer it works on plain TensorFlow tensors.
Everything that differs between the two generations is in this file and nowhere else.
"""

import contextlib
import functools
import os
import re
from collections.abc import Callable
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
    """Class decorator: makes a layer, loss or metric loadable from a `.keras` file once `tfmtl` is imported.

    A layer that is frozen before it is built, as one from a file may be, freezes what it builds: by themselves its weights
    and the layers in it would be trained.
    """
    made: Any = cls
    if issubclass(cls, keras.layers.Layer) and "build" in vars(cls):
        made.build = _staying_frozen(made.build)
    return keras.saving.register_keras_serializable("tfmtl")(cls)


def _staying_frozen(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def built(self: Any, *arguments: Any, **shapes: Any) -> None:
        build(self, *arguments, **shapes)
        if not self.trainable:
            self.trainable = True  # or Keras 3 takes the next line for no change
            self.trainable = False

    return built


def model_by_name(inputs: dict[str, Any], outputs: dict[str, Any], name: str) -> keras.Model:
    """A functional model that takes `{column: tensor}` and finds its columns by name, whatever else is in the dict.

    A model that is declared over a dict makes Keras 3 sort the keys that it is given and take them by position: one column
    too many, and the model reads others' values. Declared over a list, it looks up the name of each `keras.Input`.

    tf_keras logs losses and metrics under the name of the layer that an output comes from, so each gets a layer of its own,
    named like it where no other layer is.
    """
    model = keras.Model(list(inputs.values()), outputs, name=name)
    if not LEGACY:
        return model
    taken = {layer.name for layer in model.layers}
    named = {key: key if key not in taken else f"{key}_output" for key in outputs}
    outputs = {
        key: keras.layers.Activation("linear", name=named[key], dtype="float32")(outputs[key]) for key in outputs
    }
    return keras.Model(list(inputs.values()), outputs, name=name)


def inputs_by_name(model: keras.Model) -> dict[str, Any]:
    """The symbolic inputs of a functional model: by their keys if it was declared over a dict, else by their own names.

    Empty for a model that declares none.
    """
    declared = getattr(model, "input", None)  # which some hosts' Sequential has not
    if isinstance(declared, dict):
        return dict(declared)
    return {column.name: column for column in getattr(model, "inputs", None) or []}


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers of a model, those inside of layers too, in the order in which they were made."""
    return list(model._flatten_layers(include_self=False))


def add_uncast(layer: keras.layers.Layer, name: str, shape: tuple[int, ...], initializer: Any, **kwargs: Any) -> Any:
    """Adds a weight that mixed precision never casts: whoever reads it casts what is made of it."""
    keep = "experimental_autocast" if LEGACY else "autocast"
    return layer.add_weight(name=name, shape=shape, initializer=initializer, **{keep: False}, **kwargs)


def add_table(layer: keras.layers.Layer, name: str, shape: tuple[int, ...], initializer: Any, **kwargs: Any) -> Any:
    """Adds an embedding table: a step reads some of its rows, and optimizers for sparse gradients may take it.

    Cast as a whole it would be copied at every step and its gradient would be dense; lookups are cast instead.
    """
    table = add_uncast(layer, name, shape, initializer, **kwargs)
    for part in getattr(table, "variables", [table]):  # a parameter server keeps a table in parts
        part.is_table = True
    return table


def is_table(variable: Any) -> bool:
    """Whether `variable` is an embedding table: made by `add_table`, or the weight of a Keras `Embedding`."""
    path = getattr(variable, "path", variable.name)
    return getattr(variable, "is_table", False) or bool(re.search(r"(^|/)embeddings(/part_\d+)?(:0)?$", path))


def raw(variable: Any) -> Any:
    """The backend's own variable: what a Keras 3 variable wraps, and what tf_keras has in the first place."""
    return variable if LEGACY or not isinstance(variable, keras.Variable) else variable.value


def lookup(table: Any, rows: Any) -> Any:
    """The rows of an embedding table, read without touching the others.

    `ops.take` on a Keras 3 variable first reads all of it, and TensorFlow copies a variable at every read once single
    rows of it have been written, as sparse optimizers do. On the raw variable it gathers the rows in place.
    """
    return ops.take(raw(table), rows, axis=0)


def _outside_of_the_graph() -> contextlib.AbstractContextManager[Any]:
    """Variables that Keras 3 makes while it traces the first step take 20 ms each; made eagerly they take one.

    Under a strategy Keras makes them before it traces, and a replica could not make them eagerly.
    """
    import tensorflow as tf

    return contextlib.nullcontext() if tf.distribute.has_strategy() else tf.init_scope()


def dtype_of(tensor: Any) -> str:
    """The name of a tensor's dtype, the same on every backend."""
    return standardize_dtype(tensor.dtype)


class Optimizer(keras.optimizers.Optimizer):
    """The optimizer base of either host, under one set of names.

    A subclass adds its slots in `create_slots`, may change the gradients in `prepare`, and changes variables in `update`.
    Clipping and weight decay are the subclass's too: Keras 3 clips what one replica sees, and both hosts decay whole tables.

    Args:
        learning_rate: a float or a `LearningRateSchedule`.
        options: what both hosts take: `name`, `weight_decay`, `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`,
            `ema_momentum`, `ema_overwrite_frequency`.
    """

    def __init__(self, learning_rate: Any, **options: Any):
        if BACKEND != "tensorflow":
            raise ImportError(
                f"`{type(self).__name__}` needs the TensorFlow backend, the one with sparse gradients. "
                f"Received: KERAS_BACKEND={BACKEND}"
            )
        if LEGACY:
            super().__init__(**{**options, "jit_compile": False})
            self._learning_rate = self._build_learning_rate(learning_rate)
        else:
            super().__init__(learning_rate=learning_rate, **options)

    def create_slots(self, variables: list[Any]) -> None:
        """Makes the slots of `variables`, with `add_slot`. Called once."""

    def prepare(self, gradients: list[Any]) -> list[Any]:
        """The gradients to apply, given their sums over all replicas."""
        return gradients

    def update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Applies a gradient to `variable`, a TensorFlow variable."""
        raise NotImplementedError

    def add_slot(self, variable: Any, name: str, shape: tuple[int, ...] | None = None, value: float = 0.0) -> Any:
        """A variable beside `variable`, filled with `value`; of the same shape if none is given."""
        if LEGACY:
            shape = tuple(variable.shape) if shape is None else shape
            filled = keras.initializers.Constant(value)(shape, variable.dtype)
            return self.add_variable_from_reference(variable, name, initial_value=filled)
        initializer = keras.initializers.Constant(value)
        if shape is None:
            return self.add_variable_from_reference(variable, name, initializer)
        path = variable.path.replace("/", "_")
        return self.add_variable(shape, initializer, variable.dtype, name=f"{path}_{name}")

    def index_of(self, variable: Any) -> int:
        """The place of `variable` among those that `create_slots` was given."""
        return self._index_dict[self._var_key(variable)] if LEGACY else self._get_variable_index(variable)

    def build(self, variables: list[Any]) -> None:
        done = "_built" if LEGACY else "built"
        if getattr(self, done, False):
            return
        with _outside_of_the_graph():
            super().build(variables)
            self.create_slots(variables)
        setattr(self, done, True)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any = None) -> None:
        self.update(gradient, variable, self.learning_rate if learning_rate is None else learning_rate)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[tuple[Any, Any]]:
        """Keras 3's last step before the updates."""
        pairs = super()._all_reduce_sum_gradients(grads_and_vars)
        return list(zip(self.prepare([gradient for gradient, _ in pairs]), [v for _, v in pairs], strict=True))

    def _deduplicate_sparse_grad(self, grads: Any) -> list[Any]:
        """tf_keras's last step before the updates."""
        return self.prepare(list(grads))

    def _clip_gradients(self, grads: Any) -> Any:
        return grads

    def _apply_weight_decay(self, variables: Any) -> None:
        pass

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if LEGACY:
            config["learning_rate"] = self._serialize_hyperparameter(self._learning_rate)
        return config


__all__ = [
    "BACKEND",
    "LEGACY",
    "Optimizer",
    "add_table",
    "add_uncast",
    "dtype_of",
    "inputs_by_name",
    "is_table",
    "keras",
    "layers_of",
    "lookup",
    "model_by_name",
    "ops",
    "raw",
    "register",
]

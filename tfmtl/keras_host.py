"""The Keras this process runs on: Keras 3, or tf_keras when TF_USE_LEGACY_KERAS=1.

TensorFlow makes the same choice for `tf.keras`, so a tfmtl layer always fits the models around it.
`ops` is Keras 3's in both cases: inside a tf_keras layer it works on plain TensorFlow tensors.
Everything that differs between the two generations is in this file and nowhere else.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

LEGACY = os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true")

try:
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

    from keras import ops  # Keras 3's, whatever `keras` names above
    from keras.backend import standardize_dtype
except (ModuleNotFoundError, ValueError) as error:  # Keras raises what its backend's import does
    raise ImportError(
        f"Keras, or the backend that it was told to use, is missing: {error}. TensorFlow is the default; KERAS_BACKEND chooses "
        "tensorflow, jax or torch, one that is installed; TF_USE_LEGACY_KERAS=1 needs `pip install tf-keras`. "
        f"Received: KERAS_BACKEND={os.environ.get('KERAS_BACKEND')!r}, TF_USE_LEGACY_KERAS={os.environ.get('TF_USE_LEGACY_KERAS')!r}"
    ) from error

C = TypeVar("C", bound=type)

BACKEND: str = "tensorflow" if LEGACY else keras.config.backend()
"""The array library under the layers: "tensorflow", "jax" or "torch"."""


def register(cls: C) -> C:
    """Class decorator: makes a layer, loss, metric or optimizer loadable from a `.keras` file once `tfmtl` is imported."""
    _leave_as_written(cls)
    return keras.saving.register_keras_serializable("tfmtl")(cls)


def _leave_as_written(cls: type[Any]) -> None:
    """Keeps AutoGraph away from the methods that tf_keras hands to it, as Keras 3 does from all of a model.

    It rewrites Python's control flow over tensors, of which we have none, and takes longer than building a model by itself.
    Layers of others within ours are rewritten as before, which `tf.autograph.experimental.do_not_convert` would end. The name is
    not a public one of TensorFlow's: without it everything is as right, and slower.
    """
    for kind in cls.__mro__ if LEGACY else ():
        if kind.__module__.startswith("tfmtl."):
            for name in {"call", "update_state", "result"} & {*vars(kind)}:
                vars(kind)[name].autograph_info__ = {}


def register_layer(cls: C) -> C:
    """`register` for a layer that builds weights; it also wraps `build`, for two things that Keras 3 leaves undone.

    A layer from a file may be frozen before it is built. By themselves the weights and layers that it then makes would be
    trained. And TensorFlow finds what lies in a layer's dicts and lists: see `show_held`.
    """
    made: Any = cls
    made.build = _finishing(made.build)
    return register(cls)


def _finishing(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def built(self: Any, *arguments: Any, **shapes: Any) -> None:
        build(self, *arguments, **shapes)
        if not self.trainable:
            self.trainable = True  # or Keras 3 takes the next line for no change
            self.trainable = False
        show_held(self)

    return built


def show_held(layer: keras.layers.Layer) -> None:
    """Makes the weights and layers in the dicts and lists of `layer` its attributes too, as `experts[click]`.

    Keras 3 keeps TensorFlow from looking into containers, so a `tf.train.Checkpoint` would leave out what lies there and
    say nothing. tf_keras and other backends need no help.
    """
    if LEGACY or BACKEND != "tensorflow":
        return
    for name, value in list(vars(layer).items()):
        if not name.startswith("_") and isinstance(value, Mapping | list | tuple):
            for path, item in _held(name, value):
                setattr(layer, path, item)


def _held(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _held(f"{name}[{key}]", item)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _held(f"{name}[{place}]", item)
    elif isinstance(value, keras.layers.Layer | keras.Variable) and "[" in name:
        yield name, value


def inputs_by_name(model: keras.Model) -> dict[str, Any]:
    """The symbolic inputs of a functional model: by their keys if it was declared over a dict, else by their own names.

    Empty for a model that declares none.
    """
    declared = getattr(model, "input", None)  # which some hosts' Sequential has not
    if isinstance(declared, dict):
        return dict(declared)
    return {column.name: column for column in getattr(model, "inputs", None) or []}


def named_input(layer: keras.layers.Layer) -> dict[str, Any] | None:
    """The symbolic input of a layer that a functional model calls once, on a dict of tensors; None of any other layer."""
    try:
        given = layer.input
    except (AttributeError, ValueError, RuntimeError):  # never called, or several times
        return None
    if isinstance(given, dict) or LEGACY:
        return given if isinstance(given, dict) else None
    # Keras 3 keeps the tensors in a list, in the order in which it flattens what the layer was built for.
    names = (layer.get_build_config() or {}).get("input_shape")
    if not isinstance(names, dict) or not isinstance(given, list) or len(names) != len(given):
        return None
    return keras.tree.pack_sequence_as(dict.fromkeys(names, 0), given)


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


def add_statistic(layer: keras.layers.Layer, name: str, shape: tuple[int, ...], initializer: Any) -> Any:
    """Adds a weight that is counted, not trained, that mixed precision never casts, and that every replica assigns alike."""
    if not LEGACY:
        return add_uncast(layer, name, shape, initializer, trainable=False, aggregation="only_first_replica")
    import tensorflow as tf

    first, on_read = tf.VariableAggregation.ONLY_FIRST_REPLICA, tf.VariableSynchronization.ON_READ
    return add_uncast(layer, name, shape, initializer, trainable=False, synchronization=on_read, aggregation=first)


def paths_within(name: str) -> contextlib.AbstractContextManager[Any]:
    """What is made inside has `name` before the paths of its variables, which Keras 3 wants to be distinct in a model.

    tf_keras's variables have no paths.
    """
    return contextlib.nullcontext() if LEGACY else keras.name_scope(name)


class _Beginning:
    """What tf_keras asks a model for, in the place where its own callback for crashes leaves it."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def maybe_load_initial_counters_from_ckpt(self, steps: Any, initial_epoch: int, mode: Any) -> tuple[int, int]:
        return self.epoch, 0


def begin_at(model: keras.Model, epoch: int | None) -> None:
    """Called in `on_train_begin`, has the `fit` that runs begin with `epoch`; None forgets it, or later ones would too.

    Neither host has a public way. Whoever calls this checks the first epoch that comes.
    """
    if LEGACY:
        model._training_state = None if epoch is None else _Beginning(epoch)
    else:
        model._initial_epoch = epoch


def make_before_tracing(model: keras.Model, labels: Iterable[str]) -> None:
    """Makes the variables of a compiled model's optimizer and losses that Keras would make while it traces the first step.

    TensorFlow traces a step twice if variables were made in it: the first step would take twice as long, a minute more with
    dozens of tasks. Under a strategy Keras makes them by itself, on other backends too.

    Args:
        model: about to be fitted, with a dict of outputs or a single one.
        labels: the names of the labels that each step is given; without any, the losses are left to Keras.
    """
    optimizer = model.optimizer
    if BACKEND != "tensorflow" or optimizer is None or not hasattr(optimizer, "build"):
        return
    import tensorflow as tf

    with model.distribute_strategy.scope():
        if tf.distribute.has_strategy() or not model.trainable_variables:
            return
        scope = tf.name_scope(optimizer.name) if LEGACY else keras.name_scope(optimizer.name, caller=optimizer)
        if not getattr(optimizer, "built", False):  # of which tf_keras knows nothing: there a second call does nothing
            with scope:
                optimizer.build(model.trainable_variables)
        outputs, names = model.output, tuple(labels)
        if not names or not isinstance(outputs, Mapping):
            return
        if LEGACY:
            if not model.compiled_loss.built:
                model.compiled_loss.build(outputs)
            return
        # Private, and where it is not there the first step only takes longer.
        losses = getattr(model, "_compile_loss", None)
        if losses is not None and not losses.built and set(names) >= set(outputs):
            losses.build(dict.fromkeys(names, 0), dict.fromkeys(outputs, 0))


def compiled_metrics(model: keras.Model) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The `metrics` and the `weighted_metrics` that a model was compiled with, by output; empty where they were given otherwise.

    Keras has no public way; where the names are not there they are empty too, and whoever asks has to do without.
    """
    compiled = getattr(model, "compiled_metrics" if LEGACY else "_compile_metrics", None)
    given = getattr(compiled, "_user_metrics", None), getattr(compiled, "_user_weighted_metrics", None)
    plain, weighted = (each if isinstance(each, Mapping) else {} for each in given)
    return plain, weighted


def in_columns(values: Any, predictions: Any) -> Any:
    """Labels or sample weights of a step as tf_keras is about to make them, new tensors, before it calls a loss on them.

    It makes `(B, 1)` of `(B,)` where predictions are matrices. Keras 3 hands on what it is given.

    Args:
        values: by output, or weights for all of them.
        predictions: by output; anything else is left to tf_keras.
    """
    if not LEGACY or not isinstance(predictions, Mapping):
        return values
    import tensorflow as tf

    def rank(value: Any) -> int | None:
        return getattr(getattr(value, "shape", None), "rank", None)

    matrices = {name for name, prediction in predictions.items() if rank(prediction) == 2}
    if isinstance(values, Mapping):
        flat = {name for name, value in values.items() if name in matrices and rank(value) == 1}
        return {name: tf.expand_dims(value, -1) if name in flat else value for name, value in values.items()}
    return tf.expand_dims(values, -1) if rank(values) == 1 and matrices == set(predictions) else values


def raw(variable: Any) -> Any:
    """The backend's own variable: what a Keras 3 variable wraps, and what tf_keras has in the first place."""
    return variable if LEGACY or not isinstance(variable, keras.Variable) else variable.value


def builds_from_means(model: keras.Model) -> bool:
    """Whether Keras calls `model`, to build its metrics, with a batch averaged over replicas, whose integers are float64."""
    return not LEGACY and BACKEND == "tensorflow" and model.distribute_strategy.num_replicas_in_sync > 1


def dtype_of(tensor: Any) -> str:
    """The name of a tensor's dtype, the same on every backend."""
    return standardize_dtype(tensor.dtype)


__all__ = [
    "BACKEND",
    "LEGACY",
    "add_statistic",
    "add_uncast",
    "begin_at",
    "builds_from_means",
    "compiled_metrics",
    "dtype_of",
    "in_columns",
    "inputs_by_name",
    "keras",
    "layers_of",
    "make_before_tracing",
    "named_input",
    "ops",
    "raw",
    "register",
    "register_layer",
    "show_held",
]

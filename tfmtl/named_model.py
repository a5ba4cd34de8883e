"""The model that `build` makes: a functional Keras model in which everything goes by name."""

import inspect
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

from tfmtl.chief import own_path
from tfmtl.keras_host import (
    LEGACY,
    builds_from_means,
    compiled_metrics,
    dtype_of,
    in_columns,
    keras,
    layers_of,
    make_before_tracing,
    register,
    show_held,
)
from tfmtl.lost_process import naming_lost_process
from tfmtl.row_errors import raising_as_is
from tfmtl.task_tables import Columns, announced
from tfmtl.typing import Tensor
from tfmtl.whole_weights import lies_in_parts, save_whole_weights


class _Added(threading.local):
    """What layers added in the step that this thread computes, by model: each replica is a thread of its own."""

    def __init__(self) -> None:
        self.of: dict[int, list[Any]] = {}


_ADDED = _Added()


@runtime_checkable
class ReadsLabels(Protocol):
    """A layer with losses that need labels, beside those that `add_loss` takes.

    A `NamedModel` asks for them in every training step, once it has called its layers. A plain `keras.Model` does not:
    such a layer calls `refuse_plain_step` when it is called for training.
    """

    def label_losses(self, labels: Mapping[str, Tensor], sample_weight: Any) -> list[Tensor]:
        """Losses of the rows that the layer was last called on; none unless that was for training.

        Under N replicas each is N times this replica's share of the loss: Keras takes the mean of what layers add.

        Args:
            labels: `{task: (B,) or (B, 1)}`, NaN where missing.
            sample_weight: None, an array for all tasks, or `{task: array}`.
        """


@register
class NamedModel(keras.Model):
    """A functional model that takes labels, sample weights and losses by the names of its outputs, and not by position.

    Keras deals a list out to the keys of a dict in the order of the alphabet, whatever order the schema has.

    What layers add by `add_loss` is read before the losses of the tasks. These wait for the other replicas of a
    `MirroredStrategy`, which run the same layers in turn: afterwards Keras 3 would find what the last one added. Layers that
    need labels for a loss of theirs are asked for it at the same time (`ReadsLabels`).

    Row numbers are int32 and raw ids int64 or text; Keras would cast them to what the model declares, and a raw id would
    become another id's row number, or none. So an input that is declared as int32 takes nothing else. JAX makes every
    integer an int32 before a compiled step sees it: there only a direct call can tell them apart.

    Args:
        args: inputs and outputs, as `keras.Model` takes them.
    """

    if not LEGACY:  # which looks into containers by itself, and would take a model with an `__init__` for no graph

        def __init__(self, *args: Any, **kwargs: Any):  # by these names Keras knows that a config holds a graph
            super().__init__(*args, **kwargs)
            for layer in layers_of(self):  # stages of a user's own too
                show_held(layer)

    @property
    def losses(self) -> list[Any]:
        held = _ADDED.of.get(id(self))
        return super().losses if held is None else held

    def added_losses(self, labels: Any, sample_weight: Any) -> list[Any]:
        """What layers add to the losses of the tasks, with or without a look at the labels of the step."""
        readers = _label_readers(self) if isinstance(labels, Mapping) else []
        return [*self.losses, *(loss for layer in readers for loss in layer.label_losses(labels, sample_weight))]

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        self._refuse_raw(inputs)
        return super().call(inputs, training=training, mask=mask)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **options: Any
    ) -> Any:
        tasks = list(self.output) if isinstance(self.output, dict) else []
        if len(tasks) > 1:
            self._refuse_position("The labels", y, tasks, not isinstance(y, Mapping))
            self._refuse_position("The sample weights", sample_weight, tasks, isinstance(sample_weight, list | tuple))
            self._refuse_position("`loss` of `compile`", self.loss, tasks, isinstance(self.loss, list | tuple))
        _ADDED.of[id(self)] = self.added_losses(y, sample_weight)
        y, sample_weight = in_columns(y, y_pred), in_columns(sample_weight, y_pred)
        losses = self.loss if isinstance(self.loss, Mapping) else dict.fromkeys(tasks, self.loss)
        try:
            with announced(_calls(losses, y, y_pred, sample_weight)):
                return super().compute_loss(x, y, y_pred, sample_weight, **options)
        finally:
            del _ADDED.of[id(self)]

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        plain, weighted = compiled_metrics(self)
        y, sample_weight = in_columns(y, y_pred), in_columns(sample_weight, y_pred)
        with announced([*_calls(plain, y, y_pred, None), *_calls(weighted, y, y_pred, sample_weight)]):
            return super().compute_metrics(x, y, y_pred, sample_weight)

    # What a dataset raises inside of TensorFlow is raised as itself.
    @naming_lost_process
    @raising_as_is
    def fit(self, x: Any = None, y: Any = None, *arguments: Any, **options: Any) -> Any:
        make_before_tracing(self, _label_names(x, y))
        history = super().fit(x, y, *arguments, **options)
        if history.epoch and not history.history:
            raise ValueError(
                "Nothing was trained: the data held no batch. With `drop_remainder=True`, fewer rows than `batch_size` make none."
            )
        return history

    evaluate = naming_lost_process(raising_as_is(keras.Model.evaluate))
    predict = raising_as_is(keras.Model.predict)

    def save(self, filepath: Any, *arguments: Any, **options: Any) -> None:
        _refuse_hdf5(filepath)
        if LEGACY and not PurePath(str(filepath)).suffix and lies_in_parts(self):
            raise ValueError(
                "A folder that tf_keras saves of weights in parts loads nowhere, and spoils the model that was saved: save as "
                f"`.keras`, or export. Received: filepath={str(filepath)!r}"
            )
        if not PurePath(str(filepath)).suffix and self.optimizer is not None and options.get("include_optimizer", True):
            warnings.warn(
                "A folder that tf_keras saves does not bring back what the optimizer remembers: save as `.keras`, or with "
                f"`include_optimizer=False` to say so. Received: filepath={str(filepath)!r}",
                stacklevel=2,
            )
        super().save(own_path(self, filepath), *arguments, **options)

    def save_weights(self, filepath: Any, *arguments: Any, **options: Any) -> None:
        if not str(filepath).endswith(".weights.h5"):
            _refuse_hdf5(filepath)
        super().save_weights(own_path(self, filepath), *arguments, **options)

    # Keras calls these two of a model before those of its layers.
    def save_own_variables(self, store: Any) -> None:
        save_whole_weights(self)
        super().save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        save_whole_weights(self)
        super().load_own_variables(store)

    def _refuse_position(self, what: str, given: Any, tasks: list[str], refused: bool) -> None:
        if refused:
            self._forget_steps()
            form = f"{len(given)} in a list or tuple" if isinstance(given, list | tuple) else type(given).__name__
            raise ValueError(
                f"{what} must be a dict by task, of {tasks}: Keras deals a list out in the order of the alphabet. "
                f"Received: {form}"
            )

    def _refuse_raw(self, inputs: Any) -> None:
        """Raises ValueError if a column of row numbers comes in another type. Types are known when a step is traced."""
        given = inputs if isinstance(inputs, Mapping) else dict(zip(self._declared(), _listed(inputs), strict=False))
        known = (None, "int32", "float64") if builds_from_means(self) else (None, "int32")
        types = {name: _type_of(given.get(name)) for name, declared in self._declared().items() if declared == "int32"}
        received = {name: dtype for name, dtype in types.items() if dtype not in known}
        if received:
            self._forget_steps()
            raise ValueError(
                f"The model reads {sorted(received)} as row numbers, int32, which the preprocessor makes of raw ids. "
                "Encode the rows: `tfmtl.read(..., encode=True)`, `dataset.map(preprocessor)` or `preprocessor(x)` with "
                "`preprocessor = tfmtl.Preprocessor(schema.features)`. Row numbers that something else has made must be "
                f"cast to int32. Received: {received}"
            )

    def _declared(self) -> dict[str, str]:
        """The type of each input, by name."""
        return {column.name: dtype_of(column) for column in self.inputs}

    def _forget_steps(self) -> None:
        """Keras keeps a step that failed while it was traced, and would fail in it again whatever it is given then."""
        self.train_function = self.test_function = self.predict_function = None


def _label_readers(model: keras.Model) -> Iterator[ReadsLabels]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _label_readers(layer)
        elif isinstance(layer, ReadsLabels):
            yield layer


def refuse_plain_step(layer: keras.layers.Layer) -> None:
    """Raises ValueError where the training step that runs is Keras's own, which leaves out the losses of a `ReadsLabels`.

    Whose step it is nobody tells a layer, so the model is looked for among the callers. A step or a `compute_loss` of a
    user's own may well ask for the losses, and is left alone.
    """
    frame = inspect.currentframe()
    while frame is not None:
        # The name first: reading a frame's locals keeps all of them, tensors too, as long as the frame runs.
        if frame.f_code.co_name == "train_step" and isinstance(model := frame.f_locals.get("self"), keras.Model):
            break
        frame = frame.f_back
    else:
        return
    kind = type(model)
    if kind.train_step is keras.Model.train_step and kind.compute_loss is keras.Model.compute_loss:
        raise ValueError(
            f"Layer {layer.name!r} has a loss that reads labels, which a plain Keras model does not give it: it would train "
            "without. Make the model by `tfmtl.build` or a preset, or as `tfmtl.named_model.NamedModel(inputs, outputs)`, or "
            f"add what `label_losses` of the layer gives in a `compute_loss` of your own. Received: model={model.name!r}"
        )


def _calls(compiled: Mapping[str, Any], y: Any, y_pred: Any, sample_weight: Any) -> list[tuple[Any, Columns]]:
    """What Keras is about to call, and on what, of losses or lists of metrics by task."""
    if not (isinstance(y, Mapping) and isinstance(y_pred, Mapping)):
        return []
    weights = sample_weight if isinstance(sample_weight, Mapping) else dict.fromkeys(compiled, sample_weight)
    return [
        (each, Columns(y[task], y_pred[task], weights.get(task)))
        for task, own in compiled.items()
        if task in y and task in y_pred
        for each in (own if isinstance(own, list | tuple) else [own])
    ]


def _label_names(x: Any, y: Any) -> tuple[str, ...]:
    """The names of the labels that `fit(x, y)` is given, if they have names."""
    spec = getattr(x, "element_spec", None)
    given = spec[1] if isinstance(spec, tuple) and len(spec) > 1 else y
    return tuple(given) if isinstance(given, Mapping) else ()


def _refuse_hdf5(path: Any) -> None:
    """Raises ValueError for the oldest format of Keras, which knows weights by names within a layer of the model.

    Those of a stage's parts repeat. tf_keras fails; Keras 3 writes it and then forgets the optimizer in all later saves.
    """
    if PurePath(str(path)).suffix in (".h5", ".hdf5"):
        raise ValueError(
            "HDF5 files of whole models do not hold all of this one: save it as `.keras`, or its weights alone as "
            f"`.weights.h5`. Received: filepath={str(path)!r}"
        )


def _listed(inputs: Any) -> Iterable[Any]:
    return inputs if isinstance(inputs, list | tuple) else [inputs]


def _type_of(values: Any) -> str | None:
    """The name of an array's or a tensor's type; None for what has none, such as a list. Booleans may be a mask."""
    dtype = getattr(values, "dtype", None)
    name = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    return None if dtype is None or name == "bool" else name


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

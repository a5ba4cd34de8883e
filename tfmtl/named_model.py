"""The model that `build` makes: a functional Keras model in which everything goes by name."""

import threading
from collections.abc import Mapping
from typing import Any

from tfmtl.keras_host import LEGACY, keras, register


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

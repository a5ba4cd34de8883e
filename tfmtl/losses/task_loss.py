"""The loss of a task: what a `Task` may be given, and how a schema writes it down."""

from collections.abc import Callable
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.losses.masked_binary_crossentropy import MaskedBinaryCrossentropy
from tfmtl.losses.masked_categorical_crossentropy import MaskedCategoricalCrossentropy
from tfmtl.losses.masked_keras_loss import MaskedKerasLoss
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.losses.masked_mean_squared_error import MaskedMeanSquaredError
from tfmtl.typing import TaskKind

OF_KIND: dict[TaskKind, Callable[[], MaskedLoss]] = {
    "binary": MaskedBinaryCrossentropy,
    "regression": MaskedMeanSquaredError,
    "multiclass": MaskedCategoricalCrossentropy,
}


def task_loss(given: Any, kind: TaskKind, num_classes: int | None = None, name: str | None = None) -> MaskedLoss:
    """`given` as the masked loss of a task of that kind; None is the kind's own.

    Args:
        given: a loss of ours or of Keras, a function of labels and predictions, a name of Keras's, or what `loss_to_dict`
            made of one.
        kind, num_classes: of the task.
        name: what errors call the loss.

    Raises:
        ValueError: it is no loss of such a task.
    """
    loss = OF_KIND[kind]() if given is None else loss_from_dict(given) if isinstance(given, dict) else given
    if not isinstance(loss, MaskedLoss):
        return MaskedKerasLoss(loss, kind, name, num_classes)
    return loss.for_task(kind, num_classes, name)


def loss_to_dict(loss: MaskedLoss) -> dict[str, Any]:
    """`loss` as JSON types, the same on both Keras generations; where errors call it by its task is left out.

    Raises:
        ValueError: a function or a class that no file can name.
    """
    if isinstance(loss, MaskedKerasLoss):
        return {"masked": _described(loss.loss)}
    return _described(loss)


def loss_from_dict(description: dict[str, Any]) -> Any:
    """The loss that `loss_to_dict` described; one of Keras comes without its mask."""
    described = description.get("masked", description)
    if "function" in described:
        return keras.losses.get(described["function"]) if ">" not in described["function"] else _registered(described)
    name, config = described["loss"], described.get("config", {})
    found: Any = getattr(keras.losses, name) if ">" not in name else _registered({"function": name})
    return found.from_config(dict(config))


def _registered(described: dict[str, Any]) -> Any:
    name = described["function"]
    found = keras.saving.get_registered_object(name)
    if found is None:
        raise ValueError(f"The loss {name!r} is not registered in this process: import what defines it first.")
    return found


def _described(loss: Any) -> dict[str, Any]:
    if not isinstance(loss, keras.losses.Loss):
        return {"function": _name_of(loss)}
    # The reduction is not used, and its names differ between Keras generations; a name is that of the task.
    kept = {key: value for key, value in loss.get_config().items() if key not in ("reduction", "name", "dtype", "fn")}
    return {"loss": _name_of(type(loss)), **({"config": kept} if kept else {})}


def _name_of(named: Any) -> str:
    """What finds a class or a function again: its registered name, or the one that Keras knows."""
    name: str = getattr(named, "__name__", type(named).__name__)
    registered: str = keras.saving.get_registered_name(named)
    if keras.saving.get_registered_object(registered) is named:
        return registered
    if getattr(keras.losses, name, None) is not named:
        raise ValueError(
            "`loss` of a task must be one that a file can name: register it with `keras.saving.register_keras_serializable`, or "
            f"give it to `objectives(losses=...)`, which writes nothing. Received: loss={named!r}"
        )
    return name

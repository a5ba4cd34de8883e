"""The loss of a task: what a `Task` may be given, and how a schema writes it down."""

from collections.abc import Callable
from typing import Any, cast

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
    """`loss` as JSON types, the same on both Keras generations: its name, and its config where it has one.

    Raises:
        ValueError: a function or a class that no file can name.
    """
    held: Any = loss.loss if isinstance(loss, MaskedKerasLoss) else loss
    if not isinstance(held, keras.losses.Loss):
        return {"loss": _name_of(held)}
    # The reduction is not used, and its names differ between Keras generations; a loss is called as its task.
    kept = {key: value for key, value in held.get_config().items() if key not in ("reduction", "name", "dtype", "fn")}
    return {"loss": _name_of(type(held)), **({"config": kept} if kept else {})}


def loss_from_dict(description: dict[str, Any]) -> Any:
    """The loss that `loss_to_dict` described; one of Keras and a function come without their mask."""
    name = description["loss"]
    found: Any = keras.saving.get_registered_object(name) if ">" in name else getattr(keras.losses, name, None)
    if found is None:
        raise ValueError(f"The loss {name!r} is not registered in this process: import what defines it first.")
    return found if not isinstance(found, type) else cast(Any, found).from_config(dict(description.get("config", {})))


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

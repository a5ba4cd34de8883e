"""What a run consists of beside weights and optimizer: random states, metrics, callbacks, logs."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tfmtl.keras_host import LEGACY, keras
from tfmtl.training.plain_state import decoded, encoded, remembered, remind

Arrays: TypeAlias = dict[str, Any]  # of NumPy


def gathered(
    model: keras.Model, callbacks: Sequence[Any], epoch_logs: tuple[int, dict[str, float]] | None, *, metrics: bool
) -> tuple[dict[str, Any], Arrays]:
    """State as JSON holds it, and its arrays.

    Under several workers all must call it: a metric is summed over them when it is read.

    Args:
        model: that trains.
        callbacks: whose attributes to keep.
        epoch_logs: number and logs of an epoch that has just ended, which the history may lack.
        metrics: whether to keep those of an epoch that goes on.
    """
    arrays: list[np.ndarray] = []
    epochs, logs = list(model.history.epoch), {name: list(values) for name, values in model.history.history.items()}
    if epoch_logs is not None and epoch_logs[0] not in epochs:
        epochs.append(epoch_logs[0])
        for name, value in epoch_logs[1].items():
            logs.setdefault(name, []).append(value)
    state = {
        "history": encoded({"epoch": epochs, "history": logs}, arrays),
        "callbacks": [[type(callback).__name__, remembered(callback, arrays)] for callback in callbacks],
    }
    found = {str(number): array for number, array in enumerate(arrays)}
    found |= {f"random {place}": _value(variable) for place, variable in enumerate(_random(model))}
    if metrics:
        found |= {f"metric {place}": _value(variable) for place, variable in enumerate(_metrics(model))}
    return state, found


def restore(model: keras.Model, callbacks: Sequence[Any], state: dict[str, Any], arrays: Arrays) -> None:
    """Sets random states and callbacks as `gathered` found them.

    Raises:
        ValueError: other callbacks, or a model with other layers that draw random numbers.
    """
    _assign("random", _random(model), arrays)
    names = [type(callback).__name__ for callback in callbacks]
    kept = [name for name, _ in state["callbacks"]]
    if names != kept:
        raise ValueError(f"The checkpoint holds the state of other callbacks: {kept}. Received: callbacks={names}")
    for callback, (_, attributes) in zip(callbacks, state["callbacks"], strict=True):
        remind(callback, attributes, arrays)


def restore_history(model: keras.Model, state: dict[str, Any], arrays: Arrays) -> None:
    """Puts the logs of the epochs before into what `fit` returns."""
    found = decoded(state["history"], arrays)
    model.history.epoch, model.history.history = found["epoch"], found["history"]


def restore_metrics(model: keras.Model, arrays: Arrays) -> None:
    """Sets the metrics of an epoch that goes on; their variables must have been made."""
    _assign("metric", _metrics(model), arrays)


def clocks_of(optimizer: Any) -> list[Any]:
    """The variables in which an optimizer, and those inside of it, count their steps."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return []
    inner = [clock for part in list(vars(optimizer).values()) for clock in clocks_of(part)]
    found = {id(clock): clock for clock in (optimizer.iterations, *inner)}
    return list(found.values())


def _random(model: keras.Model) -> list[Any]:
    """The states of the random numbers that layers draw. tf_keras keeps them in its operations, where nobody finds them."""
    if LEGACY:
        return []
    weights = set(map(id, model.weights))
    return [variable for variable in model.variables if id(variable) not in weights]


def _metrics(model: keras.Model) -> list[Any]:
    return [variable for metric in model.metrics for variable in metric.variables]


def _value(variable: Any) -> np.ndarray:
    return np.asarray(variable.numpy())


def _assign(kind: str, variables: Sequence[Any], arrays: Arrays) -> None:
    kept = [arrays[f"{kind} {place}"] for place in range(sum(name.startswith(f"{kind} ") for name in arrays))]
    if [tuple(variable.shape) for variable in variables] != [array.shape for array in kept]:
        raise ValueError(
            f"The checkpoint holds the {kind} states of another model: {[array.shape for array in kept]}. "
            f"Received: {[tuple(variable.shape) for variable in variables]}"
        )
    for variable, array in zip(variables, kept, strict=True):
        variable.assign(array)

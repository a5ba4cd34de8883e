"""The weights that the tasks of a model train with."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import keras
from tfmtl.schema import Task
from tfmtl.training.balancing.balanced_model import BalancedModel


def is_trained(model: keras.Model) -> bool:
    """Whether the model took a step, as far as its optimizer knows; True of a model without one: it came from somewhere."""
    optimizer = getattr(model, "optimizer", None)
    return optimizer is None or not hasattr(optimizer, "iterations") or _steps(optimizer) > 0


def compiled_weights(model: keras.Model, tasks: Iterable[Task]) -> dict[str, float]:
    """`{task: weight of its loss}`, as `compile` was told and, of a balanced model, as the balancer found last.

    A task without a loss has weight 0. Of a model that is not compiled, the weights are those of the tasks. A weight that
    decays is taken where it stands now.
    """
    tasks = list(tasks)
    config = model.get_compile_config() if hasattr(model, "get_compile_config") else None
    if not config:
        return {task.name: task.weight for task in tasks}
    losses, weights = model.loss, config.get("loss_weights")
    found = {}
    for task in tasks:
        trained = losses.get(task.name) is not None if isinstance(losses, Mapping) else losses is not None
        given = weights.get(task.name, 1.0) if isinstance(weights, Mapping) else 1.0
        found[task.name] = _value(given, model.optimizer) if trained else 0.0
    if isinstance(model, BalancedModel) and model.balancing is not None:
        balancing = dict(zip(model.balancing.tasks, np.array(model.balancing.held["weights"]), strict=True))
        found = {name: weight * float(balancing.get(name, 1.0)) for name, weight in found.items()}
    return found


def _value(weight: Any, optimizer: Any) -> float:
    """A weight as the compile config has it: a number, or what a `DecayingWeight` is made from."""
    if not isinstance(weight, Mapping):
        return float(weight)
    options = weight["config"]
    return float(options["weight"] * options["decay"] ** (_steps(optimizer) // options["decay_steps"]))


def _steps(optimizer: Any) -> int:
    """How many an optimizer took; its counter may be mirrored."""
    return int(tf.convert_to_tensor(optimizer.iterations))

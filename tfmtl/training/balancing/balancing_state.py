"""What a balancer remembers, where `fit`, checkpoints and logs find it."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import keras
from tfmtl.training.balancing.balancer import Balancer, State

OWN = ("step", "weights", "total", "count")


class BalancingState(keras.metrics.Metric):
    """Holds a balancer's state and logs the mean weight of every task, `{task}_weight`.

    It is a Keras metric so that Keras saves it with the model's weights, shows it in the logs, and tells it of the end of
    an epoch; it is no weight of the model.

    Args:
        balancer: whose state it is.
        tasks: in the order of the losses.
        sizes: of the shared weights.
    """

    def __init__(self, balancer: Balancer, tasks: tuple[str, ...], sizes: tuple[int, ...]):
        super().__init__(name="balancing")
        self.balancer = balancer
        self.tasks = tasks
        initial = {
            "step": np.zeros((), "int64"),
            "weights": np.ones(len(tasks), "float32"),
            "total": np.zeros(len(tasks), "float32"),
            "count": np.zeros((), "float32"),
            **{f"own_{name}": value for name, value in balancer.initial_state(tasks, sizes).items()},
        }
        self.held = {
            # All replicas compute the same, so the first one's value is everyone's.
            name: tf.Variable(value, trainable=False, name=name, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
            for name, value in initial.items()
        }

    def own(self) -> State:
        """The balancer's part of the state."""
        return {name[4:]: tf.convert_to_tensor(v) for name, v in self.held.items() if name not in OWN}

    def keep(self, own: State) -> None:
        """Writes the balancer's part of the state."""
        for name, value in own.items():
            self.held[f"own_{name}"].assign(value)

    def update_state(self, weights: tf.Tensor) -> None:
        """Counts a step that was taken with these weights, and holds them."""
        self.held["step"].assign_add(1)
        self.held["weights"].assign(weights)
        self.held["total"].assign_add(weights)
        self.held["count"].assign_add(1.0)

    def result(self) -> dict[str, tf.Tensor]:
        mean = tf.math.divide_no_nan(tf.convert_to_tensor(self.held["total"]), tf.convert_to_tensor(self.held["count"]))
        return {f"{task}_weight": mean[place] for place, task in enumerate(self.tasks)}

    def reset_state(self) -> None:
        """Called by `fit` at the beginning of an epoch."""
        if float(self.held["count"].numpy()) > 0:
            self.keep(self.balancer.end_epoch(self.own()))
        for name in ("total", "count"):
            self.held[name].assign(tf.zeros_like(self.held[name]))

    def save_own_variables(self, store: Any) -> None:
        for name, variable in self.held.items():
            store[name] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Reads a saved state; a file of the plain model has none, and then the balancer begins anew."""
        saved = set(store.keys())
        if not saved:
            return
        shapes = {name: tuple(store[name].shape) for name in saved}
        wanted = {name: tuple(variable.shape) for name, variable in self.held.items()}
        if shapes != wanted:
            raise ValueError(
                f"The file holds the state of another balancer. This one is {self.balancer!r} for the tasks "
                f"{list(self.tasks)}, with {wanted}. Received: {shapes}"
            )
        for name, variable in self.held.items():
            variable.assign(store[name][()])

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("The state of a balancer is no part of a model's file.")

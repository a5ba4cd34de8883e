"""Weights from each task's trained noise."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tfmtl.training.balancing.balancer import Balancer, Signals, State, check_between, check_known

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


class UncertaintyWeighting(Balancer):
    """Trains the log variance `s_k` of every task's noise and weighs the task by its inverse.

    ```
    sum_k  exp(-s_k) L_k + s_k / 2            classification
           exp(-s_k) L_k / 2 + s_k / 2        regression
    ```

    The optimum is `w_k = 1 / (2 L_k)`: a task with 0.2 % positives, whose loss is small because its base rate is, gets
    some 50 times the weight of a balanced one. Divide each loss by the entropy of its base rate first.

    Args:
        regression: tasks with the second formula.
        learning_rate: float, of the `s_k`.

    Raises:
        ValueError: a learning rate that is not positive, or a task that the model does not train.

    Example:

    >>> from tfmtl.training.balancing import UncertaintyWeighting
    >>> UncertaintyWeighting(regression=["price"])
    UncertaintyWeighting(regression=('price',), learning_rate=0.01)

    Reference:
        Kendall et al., "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics", CVPR
        2018, arXiv:1705.07115. The `s_k` are trained here by an Adam of their own, so that the model's optimizer and its
        file hold the model's weights alone. A task that is not labelled in a batch keeps `s_k` and its moments.
    """

    def __init__(self, regression: Iterable[str] = (), learning_rate: float = 0.01):
        self.regression = (regression,) if isinstance(regression, str) else tuple(regression)
        self.learning_rate = check_between("learning_rate", learning_rate, 0.0, inclusive=False)

    def bind(self, tasks: tuple[str, ...]) -> None:
        check_known("regression", self.regression, tasks)

    def initial_state(self, tasks: tuple[str, ...], sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
        factor = np.array([0.5 if task in self.regression else 1.0 for task in tasks], "float32")
        zeros = np.zeros(len(tasks), "float32")
        return {"factor": factor, "log_variance": zeros, "momentum": zeros, "velocity": zeros, "updates": zeros}

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        weights = state["factor"] * tf.exp(-state["log_variance"])
        gradient = 0.5 - weights * signals.losses
        updates = state["updates"] + 1.0
        momentum = BETA_1 * state["momentum"] + (1 - BETA_1) * gradient
        velocity = BETA_2 * state["velocity"] + (1 - BETA_2) * tf.square(gradient)
        step = (momentum / (1 - BETA_1**updates)) / (tf.sqrt(velocity / (1 - BETA_2**updates)) + EPSILON)
        trained = {
            "log_variance": state["log_variance"] - self.learning_rate * step,
            "momentum": momentum,
            "velocity": velocity,
            "updates": updates,
        }
        return weights, {**state, **{name: tf.where(signals.present, trained[name], state[name]) for name in trained}}

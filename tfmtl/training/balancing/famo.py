"""Weights by which all losses fall at an equal rate, from the losses alone."""

import numpy as np
import tensorflow as tf

from tfmtl.training.balancing.balancer import Balancer, Signals, State, check_between

TINY = 1e-8


class FAMO(Balancer):
    """Lets the logarithms of all losses fall at an equal rate, without any gradient of a single task.

    ```
    min  sum_k c z_k log L_k        z = softmax(xi), c = 1 / sum_k (z_k / L_k)
    xi <- xi - learning_rate [ (dz/dxi)^T (log L_t - log L_{t+1}) + decay xi ]
    ```

    so `w_k = c z_k / L_k`, which sum to 1. `L_{t+1}` is the loss of the same batch after the step: one more forward pass,
    with dropout drawn anew and with batch statistics, if the model has such layers, taken twice.

    Args:
        learning_rate: float, of `xi`.
        decay: float, the paper's `gamma`.

    Raises:
        ValueError: a learning rate that is not positive, or a negative decay.

    Example:

    >>> from tfmtl.training.balancing import FAMO
    >>> FAMO()
    FAMO(learning_rate=0.025, decay=0.001)

    Reference:
        Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, arXiv:2306.03792, algorithm 1. The softmax
        runs over the tasks with a labelled row in the batch; the others keep their `xi`.
    """

    looks_back = True

    def __init__(self, learning_rate: float = 0.025, decay: float = 0.001):
        self.learning_rate = check_between("learning_rate", learning_rate, 0.0, inclusive=False)
        self.decay = check_between("decay", decay, 0.0)

    def initial_state(self, tasks: tuple[str, ...], sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
        return {"xi": np.zeros(len(tasks), "float32")}

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        over_loss = self._shares(signals.present, state) / (signals.losses + TINY)
        return tf.math.divide_no_nan(over_loss, tf.reduce_sum(over_loss)), state

    def look_back(self, signals: Signals, after: tf.Tensor, state: State) -> State:
        shares = self._shares(signals.present, state)
        fall = tf.math.log(signals.losses + TINY) - tf.math.log(after + TINY)
        fall = tf.where(signals.present, fall, 0.0)
        gradient = shares * (fall - tf.reduce_sum(shares * fall)) + self.decay * state["xi"]
        return {"xi": tf.where(signals.present, state["xi"] - self.learning_rate * gradient, state["xi"])}

    def _shares(self, present: tf.Tensor, state: State) -> tf.Tensor:
        return tf.nn.softmax(tf.where(present, state["xi"], -np.inf))

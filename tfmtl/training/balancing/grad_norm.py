"""Weights by which all tasks learn at the same pace."""

import numpy as np
import tensorflow as tf

from tfmtl.training.balancing.balancer import Signals, State, check_between
from tfmtl.training.balancing.gramian_balancer import GramianBalancer

LEAST = 0.01
"""The smallest weight, as the paper's equations would let one go below 0."""


class GradNorm(GramianBalancer):
    """Trains the weights so that the norms of the weighted gradients agree, with more for the tasks that learn slowly.

    ```
    min_w  sum_k | w_k |g_k| - m r_k^alpha |        m = mean_k w_k |g_k|
    r_k = (L_k / L_k(0)) / mean_j (L_j / L_j(0))        sum_k w_k = K
    ```

    by one gradient step on `w` each time, with `m r_k^alpha` held constant.

    Args:
        alpha: float, how strongly a slow task is helped; 1.5 for tasks that are alike, 0.12 for unlike ones.
        learning_rate: float, of `w`.
        every: int, steps from one measurement to the next.

    Raises:
        ValueError: a negative `alpha`, a learning rate that is not positive, or `every` below 1.

    Example:

    >>> from tfmtl.training.balancing import GradNorm
    >>> GradNorm(alpha=0.12)
    GradNorm(alpha=0.12, learning_rate=0.025, every=1)

    Reference:
        Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks", ICML 2018,
        arXiv:1711.02257, algorithm 1. The paper takes the norms at the last shared layer, we at all shared dense weights;
        its sum is divided by the mean norm, so that `learning_rate` means the same whatever the scale of the losses; no
        weight falls below 0.01. A task without a labelled row keeps its weight, while the others keep their sum.
    """

    weighs_towers = True

    def __init__(self, alpha: float = 1.5, learning_rate: float = 0.025, *, every: int = 1):
        self.alpha = check_between("alpha", alpha, 0.0)
        self.learning_rate = check_between("learning_rate", learning_rate, 0.0, inclusive=False)
        super().__init__(every=every)

    def initial_state(self, tasks: tuple[str, ...], sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
        return {
            "trained": np.ones(len(tasks), "float32"),
            "first": np.zeros(len(tasks), "float32"),
            "started": np.zeros(len(tasks), "float32"),
        }

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        present, losses = signals.present, signals.losses
        first = tf.where(present & (state["started"] == 0), losses, state["first"])
        norms = tf.sqrt(tf.reduce_sum(tf.square(signals.jacobian), axis=1))
        members = tf.cast(present, "float32")
        left = members * tf.math.divide_no_nan(losses, first)
        pace = tf.math.divide_no_nan(left, mean_of(left, members))
        weights = state["trained"]
        target = mean_of(weights * norms, members) * tf.pow(pace, self.alpha)
        slope = tf.math.divide_no_nan(norms * tf.sign(weights * norms - target), mean_of(norms, members))
        stepped = members * tf.maximum(weights - self.learning_rate * slope, LEAST)
        kept_sum = tf.math.divide_no_nan(tf.reduce_sum(members * weights), tf.reduce_sum(stepped))
        trained = tf.where(present, stepped * kept_sum, weights)
        return trained, {"trained": trained, "first": first, "started": tf.maximum(state["started"], members)}


def mean_of(values: tf.Tensor, members: tf.Tensor) -> tf.Tensor:
    """The mean over the elements that `members` marks with 1."""
    return tf.math.divide_no_nan(tf.reduce_sum(members * values), tf.reduce_sum(members))

"""Logarithms of losses, and gradients of one length."""

import numpy as np
import tensorflow as tf

from tfmtl.training.balancing.balancer import Signals, State, check_between
from tfmtl.training.balancing.gramian_balancer import GramianBalancer

TINY = 1e-8


class DBMTL(GramianBalancer):
    """Balances losses by their logarithm and gradients by their length (dual-balancing).

    ```
    g_k = grad log L_k        h_k <- beta h_k + (1 - beta) g_k
    w_k = max_j |h_j| / |h_k|, on log L_k;        so w_k / L_k on L_k
    ```

    Args:
        beta: float in [0, 1), of the moving mean. Above 0 it costs memory for one copy of the shared dense weights a task,
            saved with the balancer's state.
        every: int, steps from one measurement to the next.

    Raises:
        ValueError: `beta` outside [0, 1), or `every` below 1.

    Example:

    >>> from tfmtl.training.balancing import DBMTL
    >>> DBMTL(beta=0.0)
    DBMTL(beta=0.0, every=1)

    Reference:
        Lin et al., "Dual-Balancing for Multi-Task Learning", 2023, arXiv:2308.12029, algorithm 1. There the step itself
        is the moving mean; here its lengths set the weights of this batch's losses. The mean is divided by the weights in
        it, `1 - beta^t`, so that a task that was labelled less often is not taken for one with a smaller gradient.
    """

    weighs_towers = True

    def __init__(self, beta: float = 0.9, *, every: int = 1):
        self.beta = check_between("beta", beta, 0.0, 1.0)
        super().__init__(every=every)

    def initial_state(self, tasks: tuple[str, ...], sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
        if self.beta == 0:
            return {}
        return {
            "mean": np.zeros((len(tasks), sum(sizes)), "float32"),
            "updates": np.zeros(len(tasks), "float32"),
        }

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        present, losses = signals.present, signals.losses + TINY
        gradients = signals.jacobian / losses[:, None]
        if self.beta:
            updates = state["updates"] + tf.cast(present, "float32")
            mean = self.beta * state["mean"] + (1 - self.beta) * gradients
            mean = tf.where(present[:, None], mean, state["mean"])
            state = {"mean": mean, "updates": updates}
            gradients = tf.math.divide_no_nan(mean, (1 - self.beta**updates)[:, None])
        norms = tf.sqrt(tf.reduce_sum(tf.square(gradients), axis=1))
        largest = tf.reduce_max(tf.where(present, norms, 0.0))
        return tf.math.divide_no_nan(largest, norms) / losses, state

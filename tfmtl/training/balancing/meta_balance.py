"""Auxiliary gradients as large as the target task's, weight by weight."""

import numpy as np
import tensorflow as tf

from tfmtl.training.balancing.balancer import Balancer, Signals, State, check_between, check_known


class MetaBalance(Balancer):
    """Brings the gradients of the auxiliary tasks near the size of the target task's, in every shared weight by itself.

    ```
    m_k <- momentum m_k + (1 - momentum) |g_k|
    g_k <- relax g_k m_0 / m_k + (1 - relax) g_k        k = 1.. the auxiliary tasks, 0 the target
    ```

    A weight is a kernel or a bias as a whole. Embedding tables, and weights that a single task reaches, get the plain
    gradient. It needs the gradients of all tasks at every step, so there is no `every`.

    Args:
        target: str, the task that the others are to help.
        relax: float in [0, 1], the paper's `r`; 0 is the plain sum, 1 makes all sizes equal.
        momentum: float in [0, 1), of the moving mean of the sizes.

    Raises:
        ValueError: a number outside its range, or a target that the model does not train.

    Example:

    >>> from tfmtl.training.balancing import MetaBalance
    >>> MetaBalance("buy")
    MetaBalance(target='buy', relax=0.7, momentum=0.9)

    Reference:
        He et al., "MetaBalance: Improving Multi-Task Recommendations via Adapting Gradient Magnitudes of Auxiliary
        Tasks", WWW 2022, arXiv:2203.06801, algorithm 1, larger and smaller auxiliary gradients alike. A task without a
        labelled row keeps `m_k`; each mean is divided by the weights in it, `1 - momentum^t`.
    """

    needs_gradients = True
    resizes = True
    weighs_towers = False

    def __init__(self, target: str, relax: float = 0.7, momentum: float = 0.9):
        self.target = target
        self.relax = check_between("relax", relax, 0.0, 1.0 + 1e-9)
        self.momentum = check_between("momentum", momentum, 0.0, 1.0)

    def bind(self, tasks: tuple[str, ...]) -> None:
        check_known("target", self.target, tasks)

    def initial_state(self, tasks: tuple[str, ...], sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
        return {
            "is_target": np.array([[task == self.target] for task in tasks], "float32"),
            "sizes": np.zeros((len(tasks), len(sizes)), "float32"),
            "updates": np.zeros((len(tasks), 1), "float32"),
        }

    def resize(self, signals: Signals, state: State) -> tuple[tf.Tensor, tf.Tensor, State]:
        parts = tf.split(tf.square(signals.jacobian), signals.sizes, axis=1)
        squares = tf.stack([tf.reduce_sum(part, axis=1) for part in parts], axis=1)
        present = signals.present[:, None]
        sizes = self.momentum * state["sizes"] + (1 - self.momentum) * tf.sqrt(squares)
        sizes = tf.where(present, sizes, state["sizes"])
        updates = state["updates"] + tf.cast(present, "float32")
        means = tf.math.divide_no_nan(sizes, 1 - self.momentum**updates)
        target = tf.reduce_sum(state["is_target"] * means, axis=0, keepdims=True)
        ratio = tf.where((target > 0) & (means > 0), target / tf.where(means > 0, means, 1.0), 1.0)
        factors = self.relax * ratio + 1 - self.relax
        whole = tf.reduce_sum(tf.square(factors) * squares, axis=1)
        grown = tf.sqrt(tf.math.divide_no_nan(whole, tf.reduce_sum(squares, axis=1)))
        return grown, factors, {**state, "sizes": sizes, "updates": updates}

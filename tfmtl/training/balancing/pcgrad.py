"""Gradients that give up what conflicts with the others'."""

import random

import tensorflow as tf

from tfmtl.training.balancing.balancer import Signals, State
from tfmtl.training.balancing.gramian_balancer import GramianBalancer, gramian_of, moved


class PCGrad(GramianBalancer):
    """Projects each task's gradient, one after the other, onto the normal plane of those that it conflicts with.

    ```
    for each i, for j != i in random order:
        g_i <- g_i - (g_i . g_j / |g_j|^2) g_j        where g_i . g_j < 0
    d = sum_i g_i
    ```

    Every `g_j` is the original one. The result is a combination of the original gradients, so it is computed from their
    inner products alone. Two tasks end without conflict; with more, a projection can bring back an earlier conflict
    (`UPGrad` does not).

    Args:
        seed: int, of the order; None draws one from Python's generator, which `keras.utils.set_random_seed` sets.
        every: int, steps from one measurement to the next.

    Raises:
        ValueError: `every` below 1.

    Example:

    >>> PCGrad(seed=1)
    PCGrad(seed=1, every=1)

    Reference:
        Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, arXiv:2001.06782, algorithm 1. It changes the
        direction of shared weights alone: those that a single task reaches follow that task's plain loss.
    """

    def __init__(self, *, seed: int | None = None, every: int = 1):
        self.seed = random.randrange(2**31) if seed is None else seed
        super().__init__(every=every)

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        gramian = gramian_of(signals.jacobian)
        tasks = gramian.shape[0]
        seed = tf.stack([tf.constant(self.seed, "int64"), signals.step])
        order = tf.argsort(tf.random.stateless_uniform((tasks, tasks), seed), axis=1)
        weights = self.weights(gramian, moved(gramian, signals.present), order)
        return tf.cast(weights, "float32"), state

    def weights(self, gramian: tf.Tensor, present: tf.Tensor, order: tf.Tensor | None = None) -> tf.Tensor:
        """As in `GramianBalancer`; `order`, `(K, K)`, has in row i the order in which task i meets the others."""
        tasks = gramian.shape[0]
        order = tf.tile(tf.range(tasks)[None], (tasks, 1)) if order is None else order
        own = tf.range(tasks)
        # Row i holds the projected g_i as a combination of the original gradients.
        combined = tf.eye(tasks, dtype=gramian.dtype)
        for place in range(tasks):
            other = order[:, place]
            column = tf.gather(gramian, other)
            product = tf.reduce_sum(combined * column, axis=1)
            meets = (product < 0) & (other != own) & tf.gather(present, other)
            length = tf.math.divide_no_nan(product, tf.gather(tf.linalg.diag_part(gramian), other))
            combined -= tf.one_hot(other, tasks, dtype=gramian.dtype) * tf.where(meets, length, 0.0)[:, None]
        members = tf.cast(present, gramian.dtype)
        return tf.linalg.matvec(combined, members, transpose_a=True) * members

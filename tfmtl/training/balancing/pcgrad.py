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

    >>> from tfmtl.training.balancing import PCGrad
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
        own, squares = tf.range(tasks), tf.linalg.diag_part(gramian)
        order = tf.tile(own[None], (tasks, 1)) if order is None else tf.cast(order, "int32")

        def project(place: tf.Tensor, combined: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            other = order[:, place]
            product = tf.reduce_sum(combined * tf.gather(gramian, other), axis=1)
            meets = (product < 0) & (other != own) & tf.gather(present, other)
            length = tf.where(meets, tf.math.divide_no_nan(product, tf.gather(squares, other)), 0.0)
            return place + 1, combined - tf.one_hot(other, tasks, dtype=gramian.dtype) * length[:, None]

        # Row i holds the projected g_i as a combination of the original gradients.
        start = (tf.constant(0), tf.eye(tasks, dtype=gramian.dtype))
        combined = tf.while_loop(lambda place, _: place < tasks, project, start)[1]
        members = tf.cast(present, gramian.dtype)
        return tf.linalg.matvec(combined, members, transpose_a=True) * members

"""The base of balancers that read the inner products of the tasks' gradients."""

from typing import ClassVar

import numpy as np
import tensorflow as tf

from tfmtl.checks import check_count
from tfmtl.training.balancing.balancer import Balancer, Signals, State

RIDGE = 1e-9
"""Smallest eigenvalue of the cosines that a solver sees: below it there is rounding. Where gradients are linearly
dependent and many weights give the same direction, it makes the smallest weights the answer."""


class GramianBalancer(Balancer):
    """Finds the weights from `G = [g_i . g_j]`, the inner products of the tasks' gradients.

    `g_k` is the gradient of task k by the *shared dense weights*: those that more than one task reaches, embedding tables
    aside. These are the weights that the papers speak of. Gradients of features were the other choice, and cheaper; but
    labels of two tasks often lie on different rows, where the gradients of features are orthogonal whatever the tasks
    want, and conflict cannot be seen.

    Args:
        every: int, steps from one measurement to the next; the weights are held between. A measurement costs one
            backward pass of each task through the shared layers.
    """

    needs_gradients: ClassVar[bool] = True
    weighs_towers: ClassVar[bool] = False

    def __init__(self, *, every: int = 1):
        self.every = check_count("every", every)

    def weights(self, gramian: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        """The weights of the tasks, `(K,)` float64, given `G`, `(K, K)` float64, and which tasks it is about, `(K,)` bool.

        Rows and columns of a task that is not present are not read.
        """
        raise NotImplementedError

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        gramian = gramian_of(signals.jacobian)
        return tf.cast(self.weights(gramian, moved(gramian, signals.present)), "float32"), state


def gramian_of(jacobian: tf.Tensor) -> tf.Tensor:
    """The inner products of the rows, `(K, K)`, in float64: GPUs multiply float32 matrices with 10 bits of mantissa."""
    precise = tf.cast(jacobian, "float64")
    return tf.matmul(precise, precise, transpose_b=True)


def moved(gramian: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """The present tasks whose gradient is not zero: a task that asks for nothing has no say in where the others go."""
    return present & (tf.linalg.diag_part(gramian) > 0)


def cosines(gramian: tf.Tensor, present: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The lengths of the gradients, `(K,)`, and their cosines, `(K, K)`; an absent task has length 1 and meets no other.

    Lengths may lie many orders apart, so solvers look at the cosines for what is singular.
    """
    lengths = tf.where(present, tf.sqrt(tf.linalg.diag_part(gramian)), 1.0)
    both = present[:, None] & present[None, :]
    own = tf.where(both, tf.math.divide_no_nan(gramian, lengths[:, None] * lengths[None, :]), 0.0)
    return lengths, tf.linalg.set_diag(own, tf.ones_like(lengths))


def positive(matrix: tf.Tensor) -> tf.Tensor:
    """The same symmetric matrix with its eigenvalues raised to `RIDGE` where they are below."""
    values, vectors = tf.linalg.eigh((matrix + tf.transpose(matrix)) / 2)
    return tf.matmul(vectors * tf.maximum(values, RIDGE), vectors, transpose_b=True)


def regular(gramian: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """`G` with a trace of 1 over the present tasks, made positive definite; an absent one has a 1 on the diagonal."""
    lengths, between = cosines(gramian, present)
    whole = tf.sqrt(tf.reduce_sum(tf.where(present, tf.square(lengths), 0.0)))
    lengths = tf.where(present, tf.math.divide_no_nan(lengths, whole), 1.0)
    return positive(between) * lengths[:, None] * lengths[None, :]


def rank_tolerance(values: tf.Tensor) -> tf.Tensor:
    """What float32 gradients leave of an eigenvalue that is 0, given all eigenvalues `(K,)`."""
    return tf.reduce_max(values) * values.shape[0] * np.finfo("float32").eps


def shares(values: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """`values` of the present tasks, so that they sum to 1."""
    kept = tf.where(present, values, 0.0)
    return tf.math.divide_no_nan(kept, tf.reduce_sum(kept))

"""The direction near the mean gradient that serves the worst-off task best."""

import tensorflow as tf

from tfmtl.training.balancing.balancer import check_between
from tfmtl.training.balancing.gramian_balancer import GramianBalancer, regular, shares
from tfmtl.training.balancing.interior_point import interior_point

SMALLEST = 1e-3
"""Of `|g_w| / sum_k w_k |g_k|`: below it the gradients cancel, `g_w` has no direction and its weights no bound."""


class CAGrad(GramianBalancer):
    """Moves as the mean gradient `g_0` does, but where it can, within a ball around it, it helps the task that gains least.

    ```
    d = g_0 + c |g_0| / |g_w| g_w
    w = argmin  g_w . g_0 + c |g_0| |g_w|        g_w = sum_k w_k g_k, w >= 0, sum_k w_k = 1
    ```

    so task k has the weight `1 / K + c |g_0| / |g_w| w_k`.

    Args:
        c: float in [0, 1), the radius of the ball over `|g_0|`; with 0 it is the mean.
        every: int, steps from one measurement to the next.

    Raises:
        ValueError: `c` outside [0, 1), or `every` below 1.

    Example:

    >>> from tfmtl.training.balancing import CAGrad
    >>> CAGrad()
    CAGrad(c=0.4, every=1)

    Reference:
        Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, arXiv:2110.14048, algorithm
        1. Where the gradients of `g_w` cancel to a thousandth of their lengths, the step is the mean's.
        Weights that a single task reaches follow that task's plain loss, as in the authors' code.
    """

    def __init__(self, c: float = 0.4, *, every: int = 1):
        self.c = check_between("c", c, 0.0, 1.0)
        super().__init__(every=every)

    def weights(self, gramian: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        matrix = regular(gramian, present)
        members = tf.cast(present, matrix.dtype)
        mean = tf.math.divide_no_nan(members, tf.reduce_sum(members))
        by_mean = tf.linalg.matvec(matrix, mean)
        mean_norm = tf.sqrt(tf.reduce_sum(mean * by_mean))
        linear = tf.math.divide_no_nan(by_mean, mean_norm)

        def derivatives(point: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """Of the objective over `|g_0|`. The norm `n` has a kink, so it is written as `min_t (n^2 / t + t) / 2`."""
            w, t = point[:-1], point[-1]
            product = tf.linalg.matvec(matrix, w) / t
            ratio = tf.reduce_sum(w * product) / t
            gradient = tf.concat([linear + self.c * product, [self.c / 2 * (1.0 - ratio)]], axis=0)
            side = -product[:, None] / t
            upper = tf.concat([matrix / t, side], axis=1)
            lower = tf.concat([tf.transpose(side), [[ratio / t]]], axis=1)
            return gradient, self.c * tf.concat([upper, lower], axis=0)

        start = tf.concat([tf.where(present, mean, 1.0), [1.0]], axis=0)
        point = interior_point(derivatives, start, tf.concat([members, [0.0]], axis=0))
        found = shares(point[:-1], present)
        norm = tf.sqrt(tf.reduce_sum(found * tf.linalg.matvec(matrix, found)))
        apart = tf.reduce_sum(found * tf.sqrt(tf.linalg.diag_part(matrix)))
        pull = tf.where(norm > SMALLEST * apart, self.c * mean_norm / norm, 0.0)
        return mean + pull * found

"""The bargaining solution between the tasks."""

import numpy as np
import tensorflow as tf

from tfmtl.training.balancing.gramian_balancer import GramianBalancer, cosines, positive

MOST_ITERATIONS = 60
TOLERANCE = 1e-20
SOLVED = 0.01
"""The largest `|w_k (G w)_k - 1|` of a solution."""


class NashMTL(GramianBalancer):
    """Takes the direction that maximises the product of what the tasks gain by it.

    ```
    G w = 1 / w        w > 0
    ```

    With orthogonal gradients `w_k = 1 / |g_k|`; the scale of a task's loss does not matter. Where the gradients cancel
    nothing more can be gained and the equation has no solution: the last weights are held.

    Args:
        every: int, steps from one measurement to the next.

    Raises:
        ValueError: `every` below 1.

    Example:

    >>> from tfmtl.training.balancing import NashMTL
    >>> NashMTL(every=10)
    NashMTL(every=10)

    Reference:
        Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, arXiv:2202.01017, equation 2. As in the
        authors' code `G` is first divided by its Frobenius norm: by the equation alone every step has the length
        `sqrt(K)`, also where the gradients vanish. The equation is solved by Newton's method on
        `w^T G w / 2 - sum_k log w_k`, exactly, and not by a sequence of convex approximations. Weights that a single task
        reaches follow that task's plain loss.
    """

    def weights(self, gramian: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        # With w = b / |g| the equation is C b = 1 / b, C the cosines.
        lengths, given = cosines(gramian, present)
        matrix = positive(given)

        def unfinished(iteration: tf.Tensor, error: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
            return (iteration < MOST_ITERATIONS) & (error > TOLERANCE)

        def newton(iteration: tf.Tensor, _: tf.Tensor, w: tf.Tensor) -> tuple[tf.Tensor, ...]:
            gradient = tf.linalg.matvec(matrix, w) - 1.0 / w
            factor = tf.linalg.cholesky(matrix + tf.linalg.diag(1.0 / tf.square(w)))
            step = tf.linalg.cholesky_solve(factor, gradient[:, None])[:, 0]
            decrement = tf.reduce_sum(gradient * step)
            # The function is self-concordant: this length keeps w positive and always descends.
            length = tf.where(decrement > 0.0625, 1.0 / (1.0 + tf.sqrt(tf.maximum(decrement, 0.0))), 1.0)
            return iteration + 1, decrement, w - length * step

        start = tf.ones_like(lengths)
        loop = (tf.constant(0), tf.constant(1.0, matrix.dtype), start)
        found = tf.while_loop(unfinished, newton, loop)[2]
        error = tf.reduce_max(tf.abs(found * tf.linalg.matvec(given, found) - 1.0))
        scale = tf.sqrt(tf.norm(tf.where(present[:, None] & present[None, :], gramian, 0.0)))
        return tf.where(present, tf.where(error < SOLVED, scale * found / lengths, np.nan), 0.0)

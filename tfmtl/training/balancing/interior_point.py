"""A solver of small convex problems over non-negative weights, in a fixed number of graph operations."""

from collections.abc import Callable

import tensorflow as tf

MOST_ITERATIONS = 60
TOLERANCE = 1e-12
CENTERING = (0.01, 0.3)
TO_THE_BOUNDARY = 0.99


def interior_point(
    derivatives: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    start: tf.Tensor,
    sums_to_one: tf.Tensor | None = None,
) -> tf.Tensor:
    """Minimises a convex function of `w >= 0`, of which the elements named by `sums_to_one` may have to sum to 1.

    A primal-dual interior point method. With `y` the multipliers of `w >= 0`, `l` that of the sum and `e` the elements in
    it, Newton's method follows, for `mu` that falls to 0,

    ```
    grad f(w) - l e - y = 0        e^T w = 1        w_i y_i = mu
    ```

    Each iteration is one Cholesky factorisation, and some 15 of them reach `TOLERANCE`. It needs no list of active
    constraints, so graph and XLA run it as well as eager code, and a batch of problems in one go.

    Args:
        derivatives: the gradient `(..., K)` and the positive definite Hessian `(..., K, K)` of the function at `(..., K)`.
        start: `(..., K)`, positive; fulfils the sum.
        sums_to_one: `(K,)`, 1 for each element of the sum, else 0; None for no such constraint.

    Returns:
        The minimiser, `(..., K)`.
    """
    member = tf.zeros_like(start) if sums_to_one is None else tf.zeros_like(start) + sums_to_one

    def unfinished(iteration: tf.Tensor, error: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        return (iteration < MOST_ITERATIONS) & (error > TOLERANCE)

    def newton(
        iteration: tf.Tensor, _: tf.Tensor, w: tf.Tensor, y: tf.Tensor, sum_multiplier: tf.Tensor, centering: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        gradient, hessian = derivatives(w)
        left = tf.maximum(tf.reduce_max(w * y), tf.reduce_max(tf.abs(gradient - sum_multiplier * member - y)))
        target = centering * tf.reduce_mean(w * y, axis=-1, keepdims=True)
        # The product of `member` with the step is known; it holds the matrix up where the function is flat along w.
        held = member[..., :, None] * member[..., None, :]
        factor = tf.linalg.cholesky(hessian + tf.linalg.diag(y / w) + held)
        sides = tf.stack([target / w - gradient, member], axis=-1)
        free, along = tf.unstack(tf.linalg.cholesky_solve(factor, sides), axis=-1)
        short = 1.0 - tf.reduce_sum(member * (w + free), axis=-1, keepdims=True)
        sum_multiplier = tf.math.divide_no_nan(short, tf.reduce_sum(member * along, axis=-1, keepdims=True))
        step_w = free + along * sum_multiplier
        step_y = target / w - y - y / w * step_w
        steepest = tf.reduce_max(tf.maximum(-step_w / w, -step_y / y), axis=-1, keepdims=True)
        length = tf.minimum(tf.ones_like(steepest), TO_THE_BOUNDARY / tf.maximum(steepest, 1e-300))
        # A step that had to be cut says that the path was left too far: the next one stays closer to it.
        centering = tf.clip_by_value(tf.square(1.0 - 0.9 * length), *CENTERING)
        return iteration + 1, left, w + length * step_w, y + length * step_y, sum_multiplier, centering

    ones = tf.ones_like(start)
    column = ones[..., :1]
    loop = (tf.constant(0), tf.constant(1.0, start.dtype), start, ones, 0.0 * column, CENTERING[1] * column)
    return tf.while_loop(unfinished, newton, loop)[2]

"""The mean of the gradients, each projected so that it conflicts with none."""

import tensorflow as tf

from tfmtl.training.balancing.gramian_balancer import GramianBalancer, cosines, positive
from tfmtl.training.balancing.interior_point import interior_point


class UPGrad(GramianBalancer):
    """Projects every gradient onto the directions that raise no loss, and takes the mean of the projections.

    ```
    w = 1 / K sum_k argmin v^T G v        v >= e_k
    ```

    `e_k` is the k-th unit vector. The projection is the nearest direction that no task objects to; unlike `PCGrad`'s it
    is so for any number of tasks. Tasks that do not conflict keep the weight `1 / K`.

    Args:
        every: int, steps from one measurement to the next.

    Raises:
        ValueError: `every` below 1.

    Example:

    >>> from tfmtl.training.balancing import UPGrad
    >>> UPGrad()
    UPGrad(every=1)

    Reference:
        Quinton & Rey, "Jacobian Descent for Multi-Objective Optimization", 2024, arXiv:2406.16232, section 3.
        Weights that a single task reaches follow that task's plain loss, as with `mtl_backward` of its authors.
    """

    def weights(self, gramian: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        # With v = |g_k| b / |g| each problem is min b^T C b, b >= e_k, C the cosines; with b = e_k + u it is
        # min u^T C u / 2 + (C e_k)^T u over u >= 0. All K are solved as one batch.
        lengths, matrix = cosines(gramian, present)
        matrix = positive(matrix)
        added = interior_point(
            lambda u: (tf.matmul(u, matrix) + matrix, tf.zeros_like(matrix) + matrix[None]), tf.ones_like(matrix)
        )
        members = tf.cast(present, matrix.dtype)
        total = members + tf.linalg.matvec(added, members * lengths, transpose_a=True) / lengths
        return members * tf.math.divide_no_nan(total, tf.reduce_sum(members))

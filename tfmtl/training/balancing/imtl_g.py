"""The combination of gradients that lies at the same angle to all of them."""

import tensorflow as tf

from tfmtl.training.balancing.gramian_balancer import GramianBalancer, cosines, rank_tolerance


class IMTLG(GramianBalancer):
    """Weighs the tasks so that the combined gradient has the same projection on every task's own.

    ```
    d = sum_k w_k g_k        d . g_1 / |g_1| = ... = d . g_K / |g_K|        sum_k w_k = 1
    ```

    which is `w = G^-1 n / sum(G^-1 n)`, `n_k = |g_k|`. Weights can be negative, and they grow without bound as
    `sum(G^-1 n)` nears 0: where it is not positive, all weights are `1 / K`. Linearly dependent gradients, for which there
    may be no such combination but 0, get the one that is nearest (by the pseudoinverse).

    Args:
        every: int, steps from one measurement to the next.

    Raises:
        ValueError: `every` below 1.

    Example:

    >>> from tfmtl.training.balancing import IMTLG
    >>> IMTLG()
    IMTLG(every=1)

    Reference:
        Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021, equation 5 ("IMTL-G"); the closed form there,
        `g_1 U^T (D U^T)^-1`, gives the same weights. As in the paper, weights that a single task reaches follow that
        task's plain loss: a negative weight would drive them uphill.
    """

    def weights(self, gramian: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        # With w = b / |g| this is C b = 1, C the cosines.
        lengths, matrix = cosines(gramian, present)
        members = tf.cast(present, matrix.dtype)
        values, vectors = tf.linalg.eigh(matrix)
        kept = values > rank_tolerance(values)
        along = tf.where(kept, tf.linalg.matvec(vectors, members, transpose_a=True) / values, 0.0)
        solved = members * tf.linalg.matvec(vectors, along) / lengths
        total = tf.reduce_sum(solved)
        even = tf.math.divide_no_nan(members, tf.reduce_sum(members))
        return tf.where(total > 0, solved / tf.where(total > 0, total, 1.0), even)

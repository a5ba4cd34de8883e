"""The shortest vector among the convex combinations of the gradients."""

from typing import Literal, TypeAlias

import tensorflow as tf

from tfmtl.checks import check_option
from tfmtl.training.balancing.balancer import Signals, State
from tfmtl.training.balancing.gramian_balancer import (
    GramianBalancer,
    gramian_of,
    moved,
    regular,
    shares,
)
from tfmtl.training.balancing.interior_point import interior_point

Normalization: TypeAlias = Literal["norm", "loss"]


class MGDA(GramianBalancer):
    """Takes the weights whose combination of the gradients is shortest: a direction that lowers every loss, if any does.

    ```
    w = argmin |sum_k w_k g_k|^2        w >= 0, sum_k w_k = 1
    ```

    The shortest vector leans towards the task with the smallest gradient, which can be left with all of the weight:
    `normalize` evens the gradients out first.

    Args:
        normalize: `"norm"` divides each `g_k` by its norm, `"loss"` by its loss, before the weights are sought.
        every: int, steps from one measurement to the next.

    Raises:
        ValueError: an unknown normalization, or `every` below 1.

    Example:

    >>> from tfmtl.training.balancing import MGDA
    >>> MGDA(normalize="norm", every=10)
    MGDA(normalize='norm', every=10)

    Reference:
        Sener & Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, arXiv:1810.04650, equation 3.
        As in algorithm 2 there, weights that a single task reaches follow that task's plain loss. The minimum is found by
        an interior point method and not by the paper's Frank-Wolfe steps.
    """

    def __init__(self, *, normalize: Normalization | None = None, every: int = 1):
        check_option("normalize", normalize, Normalization, optional=True)
        self.normalize = normalize
        super().__init__(every=every)

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        gramian = gramian_of(signals.jacobian)
        present = moved(gramian, signals.present)
        if self.normalize is not None:
            by_norm = tf.sqrt(tf.linalg.diag_part(gramian))
            scale = by_norm if self.normalize == "norm" else tf.cast(signals.losses, gramian.dtype)
            gramian = tf.math.divide_no_nan(gramian, scale[:, None] * scale[None, :])
        return tf.cast(self.weights(gramian, present), "float32"), state

    def weights(self, gramian: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        matrix = regular(gramian, present)
        members = tf.cast(present, matrix.dtype)
        even = tf.where(present, tf.math.divide_no_nan(1.0, tf.reduce_sum(members)), 1.0)
        return shares(interior_point(lambda w: (tf.linalg.matvec(matrix, w), matrix), even, members), present)

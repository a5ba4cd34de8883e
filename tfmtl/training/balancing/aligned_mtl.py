"""Gradients made orthogonal and of one size before they are added."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfmtl.training.balancing.balancer import Signals, State, check_between, check_known, vector
from tfmtl.training.balancing.gramian_balancer import GramianBalancer, gramian_of, moved, rank_tolerance


class AlignedMTL(GramianBalancer):
    """Replaces the gradients by the nearest orthogonal ones, all as long as the smallest principal one.

    ```
    G = V S V^T        B = sqrt(s_min) V S^-1/2 V^T        w = B p
    ```

    `s_min` is the smallest eigenvalue that is not 0, and `p` the preferences. The condition number of the new gradients
    is 1, so no task dominates and none conflicts. Weights can be negative.

    Args:
        preferences: mapping from task to `p_k`; 1 for a task that is not named.
        every: int, steps from one measurement to the next.

    Raises:
        ValueError: a negative preference, a task that the model does not train, or `every` below 1.

    Example:

    >>> from tfmtl.training.balancing import AlignedMTL
    >>> AlignedMTL({"click": 2.0})
    AlignedMTL(preferences={'click': 2.0}, every=1)

    Reference:
        Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, arXiv:2305.19000,
        algorithm 1. Weights that a single task reaches follow that task's plain loss.
    """

    def __init__(self, preferences: Mapping[str, float] | None = None, *, every: int = 1):
        self.preferences = {t: check_between("preferences", p, 0.0) for t, p in (preferences or {}).items()}
        super().__init__(every=every)

    def bind(self, tasks: tuple[str, ...]) -> None:
        check_known("preferences", self.preferences, tasks)

    def initial_state(self, tasks: tuple[str, ...], sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
        return {"preferred": vector(self.preferences, tasks)}

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        gramian = gramian_of(signals.jacobian)
        weights = self.weights(gramian, moved(gramian, signals.present), state["preferred"])
        return tf.cast(weights, "float32"), state

    def weights(self, gramian: tf.Tensor, present: tf.Tensor, preferred: tf.Tensor | None = None) -> tf.Tensor:
        members = tf.cast(present, gramian.dtype)
        own = tf.where(present[:, None] & present[None, :], gramian, 0.0)
        values, vectors = tf.linalg.eigh(own)
        kept = values > rank_tolerance(values)
        smallest = tf.reduce_min(tf.where(kept, values, np.inf))
        scale = tf.where(kept, tf.sqrt(smallest / tf.where(kept, values, 1.0)), 0.0)
        wanted = members if preferred is None else members * tf.cast(preferred, members.dtype)
        return members * tf.linalg.matvec(vectors, scale * tf.linalg.matvec(vectors, wanted, transpose_a=True))

"""Random weights: the control."""

import random

import tensorflow as tf

from tfmtl.training.balancing.balancer import Balancer, Signals, State


class RLW(Balancer):
    """Draws new weights for the tasks at every step (random loss weighting), so that no task is favoured for long.

    ```
    w = K softmax(z)        z ~ N(0, I_K)
    ```

    It knows nothing of the tasks. A method that does not beat it has not shown that its weights matter.

    Args:
        seed: int; None draws one from Python's generator, which `keras.utils.set_random_seed` sets.

    Example:

    >>> from tfmtl.training.balancing import RLW
    >>> RLW(seed=1)
    RLW(seed=1)

    Reference:
        Lin et al., "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning", TMLR 2022,
        arXiv:2111.10603. The weights sum to K here, to 1 there, so that the learning rate means the same as without a
        balancer.
    """

    def __init__(self, seed: int | None = None):
        self.seed = random.randrange(2**31) if seed is None else seed

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        tasks = signals.losses.shape[0]
        seed = tf.stack([tf.constant(self.seed, "int64"), signals.step])
        return tasks * tf.nn.softmax(tf.random.stateless_normal((tasks,), seed)), state

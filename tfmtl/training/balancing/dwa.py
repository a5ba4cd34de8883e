"""Weights from how fast each loss falls."""

import numpy as np
import tensorflow as tf

from tfmtl.checks import check_count
from tfmtl.training.balancing.balancer import Balancer, Signals, State, check_between


class DWA(Balancer):
    """Gives more weight to the tasks whose loss falls more slowly (dynamic weight average).

    ```
    w = K softmax(r / T)        r_k = L_k(t-1) / L_k(t-2)
    ```

    `L_k(t)` is the mean loss of epoch `t`. In the first two epochs all weights are 1.

    Args:
        temperature: float, `T`; the larger, the more equal the weights.
        steps: int, training steps that count as one `t`; None counts epochs.

    Raises:
        ValueError: a temperature that is not positive, or `steps` below 1.

    Example:

    >>> from tfmtl.training.balancing import DWA
    >>> DWA()
    DWA(temperature=2.0, steps=None)

    Reference:
        Liu et al., "End-to-End Multi-Task Learning with Attention", CVPR 2019, arXiv:1803.10704, equation 7. A task
        without a labelled row in a whole epoch keeps its last two means.
    """

    def __init__(self, temperature: float = 2.0, *, steps: int | None = None):
        self.temperature = check_between("temperature", temperature, 0.0, inclusive=False)
        self.steps = None if steps is None else check_count("steps", steps)

    def initial_state(self, tasks: tuple[str, ...], sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
        names = ("total", "count", "last", "before", "periods")
        return {
            **{name: np.zeros(len(tasks), "float32") for name in names},
            "steps_seen": np.zeros((), "float32"),
        }

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        if self.steps is not None:
            ended = self.end_epoch(state)
            due = state["steps_seen"] >= self.steps
            state = {name: tf.where(due, ended[name], state[name]) for name in state}
        ratio = tf.where(state["periods"] >= 2, tf.math.divide_no_nan(state["last"], state["before"]), 1.0)
        weights = signals.losses.shape[0] * tf.nn.softmax(ratio / self.temperature)
        present = tf.cast(signals.present, "float32")
        return weights, {
            **state,
            "total": state["total"] + tf.where(signals.present, signals.losses, 0.0),
            "count": state["count"] + present,
            "steps_seen": state["steps_seen"] + 1.0,
        }

    def end_epoch(self, state: State) -> State:
        seen = state["count"] > 0
        mean = tf.math.divide_no_nan(state["total"], state["count"])
        return {
            "total": tf.zeros_like(state["total"]),
            "count": tf.zeros_like(state["count"]),
            "last": tf.where(seen, mean, state["last"]),
            "before": tf.where(seen, state["last"], state["before"]),
            "periods": state["periods"] + tf.cast(seen, "float32"),
            "steps_seen": tf.zeros_like(state["steps_seen"]),
        }

"""Fixed weights."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfmtl.training.balancing.balancer import Balancer, Signals, State, check_between, check_known, vector


class Static(Balancer):
    """Keeps every task's weight as it is given.

    ```
    L = sum_k w_k L_k        w constant
    ```

    With no weights this is the plain model with its `loss_weights`: the line that any other balancer has to beat. Use
    `suggest_weights` to find weights from the gradients.

    Args:
        weights: mapping from task to weight, multiplied with the task's weight in `compile`; 1 for a task that is not
            named.

    Raises:
        ValueError: a negative weight, or a task that the model does not train.

    Example:

    >>> from tfmtl.training.balancing import Static
    >>> Static({"like": 3.0})
    Static(weights={'like': 3.0})

    Reference:
        Kurin et al., "In Defense of the Unitary Scalarization for Deep Multi-Task Learning", NeurIPS 2022,
        arXiv:2201.04122.
    """

    def __init__(self, weights: Mapping[str, float] | None = None):
        self.weights = {task: check_between("weights", weight, 0.0) for task, weight in (weights or {}).items()}

    def bind(self, tasks: tuple[str, ...]) -> None:
        check_known("weights", self.weights, tasks)

    def initial_state(self, tasks: tuple[str, ...], sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
        return {"fixed": vector(self.weights, tasks)}

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        return state["fixed"], state

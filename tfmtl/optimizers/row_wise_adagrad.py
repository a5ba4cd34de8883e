"""Adagrad with one accumulator for each row of a table."""

from typing import Any

import tensorflow as tf

from tfmtl.keras_host import raw, register
from tfmtl.optimizers.row_optimizer import RowOptimizer


@register
class RowWiseAdagrad(RowOptimizer):
    """Adagrad whose accumulator is one number a row, on the rows that occur in the batch only.

    With `g` the summed gradient of row `r`, of width `D`:

    ```
    a[r] = a[r] + sum(g^2) / D
    w[r] = w[r] - learning_rate * g / sqrt(a[r] + epsilon)
    ```

    A table of width `D` needs `1 / D` of its own size for its slots, where Adam needs twice its size. Rows that do not
    occur are not touched, and would not change if they were. A weight of rank 0 or 1 (a bias) has an accumulator for
    every element, which is ordinary Adagrad, as is a table of width 1.

    Args:
        learning_rate: float or `LearningRateSchedule`.
        initial_accumulator_value: float >= 0, what the accumulators start from.
        epsilon: float, added under the root.
        name: str.
        options: of every Keras optimizer: `weight_decay` (decoupled; of a table, the rows touched), `clipnorm`,
            `clipvalue`, `global_clipnorm` (tables stay sparse), `use_ema`, `ema_momentum`, `ema_overwrite_frequency`
            (an average of all weights: this one does cost a pass over the tables).

    Raises:
        ValueError: a negative `initial_accumulator_value`, or an option that needs dense gradients.

    Example:

    >>> from tfmtl.models import ple
    >>> from tfmtl.optimizers import LazyAdam, RowWiseAdagrad, optimizer
    >>> from tfmtl.schema import Categorical, Schema, Task
    >>> from tfmtl.training import objectives
    >>> schema = Schema([Categorical("item", num_ids=1000)], [Task("click"), Task("buy")])
    >>> model = ple(schema)
    >>> model.compile(optimizer(embeddings=RowWiseAdagrad(0.05), dense=LazyAdam(1e-3)), **objectives(schema.tasks))

    Reference:
        Duchi et al., "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 2011; the
        accumulator a row as in Mudigere et al., "Software-Hardware Co-design for Fast and Scalable Training of Deep
        Learning Recommendation Models", ISCA 2022, arXiv:2104.05158. Start and epsilon are those of Keras's Adagrad.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        name: str = "row_wise_adagrad",
        **options: Any,
    ):
        if initial_accumulator_value < 0:
            raise ValueError(
                f"`initial_accumulator_value` must be >= 0. Received: initial_accumulator_value={initial_accumulator_value}"
            )
        super().__init__(learning_rate, name=name, **options)
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def create_slots(self, variables: list[Any]) -> None:
        self._accumulators = [
            self.add_slot(v, "accumulator", (*v.shape[:1], *(1 for _ in v.shape[1:])), self.initial_accumulator_value)
            for v in variables
        ]

    def update_rows(self, rows: tf.Tensor, gradient: tf.Tensor, place: int, learning_rate: tf.Tensor) -> tf.Tensor:
        accumulator = raw(self._accumulators[place])
        total = tf.gather(accumulator, rows) + row_mean(tf.square(gradient))
        accumulator.scatter_update(tf.IndexedSlices(total, rows))
        return learning_rate * gradient * tf.math.rsqrt(total + self.epsilon)

    def update_dense(self, gradient: tf.Tensor, variable: tf.Variable, place: int, learning_rate: tf.Tensor) -> None:
        accumulator = raw(self._accumulators[place])
        accumulator.assign_add(row_mean(tf.square(gradient)))
        variable.assign_sub(learning_rate * gradient * tf.math.rsqrt(accumulator + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }


def row_mean(values: tf.Tensor) -> tf.Tensor:
    """The mean over everything but the rows, which stays as axes of length 1."""
    return tf.reduce_mean(values, axis=list(range(1, values.shape.rank)), keepdims=True)

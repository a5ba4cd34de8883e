"""Adam that touches the rows of a table that a step touches."""

from typing import Any

import tensorflow as tf

from tfmtl.keras_host import raw, register
from tfmtl.optimizers.row_optimizer import RowOptimizer


@register
class LazyAdam(RowOptimizer):
    """Adam; for an embedding table, on the rows that occur in the batch only.

    With `g` the summed gradient of row `r` at step `t`:

    ```
    m[r] = m[r] + (1 - beta_1) * (g - m[r])
    v[r] = v[r] + (1 - beta_2) * (g^2 - v[r])
    w[r] = w[r] - learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m[r] / (sqrt(v[r]) + epsilon)
    ```

    Where every row occurs at every step this is Adam. Elsewhere it differs on purpose: rows that do not occur keep their
    weights and moments as they are (Adam would go on moving them along old moments), while the bias correction counts
    all steps. The cost of a step follows the rows touched, not the size of the table. Weights with dense gradients get
    ordinary Adam; a table with a regularizer is one of them.

    A Keras 3 `Embedding` reads all of its table at every lookup, which TensorFlow answers with a copy once rows have been
    written one by one; the embedding layers of `tfmtl` read the rows they need.

    Args:
        learning_rate: float or `LearningRateSchedule`.
        beta_1: float, decay of the first moment.
        beta_2: float, decay of the second moment.
        epsilon: float, added to the root of the second moment.
        name: str.
        options: of every Keras optimizer: `weight_decay` (decoupled; of a table, the rows touched), `clipnorm`,
            `clipvalue`, `global_clipnorm` (tables stay sparse), `use_ema`, `ema_momentum`, `ema_overwrite_frequency`
            (an average of all weights: this one does cost a pass over the tables).

    Raises:
        ValueError: `beta_1` or `beta_2` outside [0, 1), or an option that needs dense gradients.

    Example:

    >>> from tfmtl.models import ple
    >>> from tfmtl.optimizers import LazyAdam
    >>> from tfmtl.schema import Categorical, Schema, Task
    >>> from tfmtl.training import objectives
    >>> schema = Schema([Categorical("item", num_ids=1000)], [Task("click"), Task("buy")])
    >>> model = ple(schema)
    >>> model.compile(LazyAdam(1e-3, global_clipnorm=10.0), **objectives(schema.tasks))

    Reference:
        Kingma & Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980; epsilon is the paper's
        "epsilon hat", as in Keras.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "lazy_adam",
        **options: Any,
    ):
        for argument, value in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= value < 1:
                raise ValueError(f"`{argument}` must be in [0, 1). Received: {argument}={value}")
        super().__init__(learning_rate, name=name, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def create_slots(self, variables: list[Any]) -> None:
        self._momentums = [self.add_slot(v, "momentum") for v in variables]
        self._velocities = [self.add_slot(v, "velocity") for v in variables]

    def update_rows(self, rows: tf.Tensor, gradient: tf.Tensor, place: int, learning_rate: tf.Tensor) -> tf.Tensor:
        momentum, velocity = raw(self._momentums[place]), raw(self._velocities[place])
        old_m, old_v = tf.gather(momentum, rows), tf.gather(velocity, rows)
        m = old_m + (gradient - old_m) * (1 - self.beta_1)
        v = old_v + (tf.square(gradient) - old_v) * (1 - self.beta_2)
        momentum.scatter_update(tf.IndexedSlices(m, rows))
        velocity.scatter_update(tf.IndexedSlices(v, rows))
        numbers = self._numbers(gradient.dtype)
        power_1, power_2 = numbers["beta1_power"], numbers["beta2_power"]
        return m * (learning_rate * tf.sqrt(1 - power_2) / (1 - power_1)) / (tf.sqrt(v) + self.epsilon)

    def update_dense(self, gradient: tf.Tensor, variable: tf.Variable, place: int, learning_rate: tf.Tensor) -> None:
        # One pass over memory for all of it; the same formula in separate operations takes half as long again.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=raw(self._momentums[place]).handle,
            v=raw(self._velocities[place]).handle,
            lr=learning_rate,
            grad=gradient,
            **self._numbers(gradient.dtype),
        )

    def _numbers(self, dtype: tf.DType) -> dict[str, tf.Tensor]:
        """What the step needs beside the gradient and the slots, as TensorFlow's operation calls it."""

        def compute() -> dict[str, tf.Tensor]:
            step = tf.cast(self.iterations + 1, dtype)
            given = {"beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
            numbers = {name: tf.constant(value, dtype) for name, value in given.items()}
            return numbers | {f"{name}_power": tf.pow(numbers[name], step) for name in ("beta1", "beta2")}

        return self.once_a_step(("numbers", dtype), compute)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}

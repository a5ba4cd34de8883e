"""Means and variances over the global batch, and moving averages of them for inference."""

from typing import Any

from tfmtl.cross_replica import num_replicas, sum_over_replicas
from tfmtl.keras_host import add_statistic, keras, ops
from tfmtl.typing import Tensor

MOMENTUM = 0.9
"""The default of every layer here. Keras's 0.99 goes by hundreds of steps, in which the layers below become others."""


class MovingMoments(keras.layers.Layer):
    """Base of the layers that read means and variances: of the batch in training, and moving averages of them in inference.

    ```
    n       <- momentum n + (1 - momentum) rows
    average <- average + (1 - momentum) rows / n (value - average)
    ```

    So an average is the mean of all values seen, weighted by their rows and by `momentum` to the power of their age. The
    start, 0 and 1, weighs nothing, as after the division by `1 - momentum^t` in Adam. Where there are no rows nothing changes.

    Args:
        momentum: of the moving averages.
        epsilon: added to variances.

    Raises:
        ValueError: `momentum` outside [0, 1) or an `epsilon` that is not above 0.
    """

    def __init__(self, *, momentum: float = MOMENTUM, epsilon: float = 1e-3, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1). Received: momentum={momentum}")
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be > 0. Received: epsilon={epsilon}")
        self.momentum = momentum
        self.epsilon = epsilon

    def add_averages(self, shape: tuple[int, ...]) -> None:
        """Adds the weights `moving_mean`, `moving_variance` and `moving_rows`: how many rows either stands for."""
        self.moving_mean = add_statistic(self, "moving_mean", shape, "zeros")
        self.moving_variance = add_statistic(self, "moving_variance", shape, "ones")
        self.moving_rows = add_statistic(self, "moving_rows", shape, "zeros")

    def moments(self, x: Tensor, mask: Tensor | None, training: bool | None) -> tuple[Tensor, Tensor]:
        """Mean and variance of each unit of `x` `(B, ..., D)`, float32, over what `mask` `(B, ...)` counts; both `(D,)`."""
        if not training or not self.trainable:
            return self.averages()
        mean, variance, rows = global_moments(x, mask)
        self.take_in(mean, variance, rows)
        return mean, variance

    def averages(self) -> tuple[Tensor, Tensor]:
        """The moving averages: 0 and 1 where nothing was seen yet."""
        return ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)

    def take_in(self, mean: Tensor, variance: Tensor, rows: Tensor) -> None:
        """Takes the moments of a batch, and how many rows they were taken from, into the averages."""
        share = (1 - self.momentum) * rows
        # Without rows there is no decay either: rare ones would be forgotten.
        old = ops.convert_to_tensor(self.moving_rows)
        total = ops.where(rows > 0, self.momentum * old + share, old)
        step = share / ops.maximum(total, 1e-12)
        self.moving_rows.assign(total)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average + step * (ops.stop_gradient(value) - average))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


def global_moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of each unit over the global batch, `(D,)`, and of how many rows.

    Args:
        x: `(B, ..., D)`, float32.
        mask: `(B, ...)`, 1 or true for what counts; None counts all.
    """
    counted = ops.ones_like(x[..., :1]) if mask is None else ops.cast(mask, "float32")[..., None]
    axes = tuple(range(len(x.shape) - 1))
    count = ops.stop_gradient(global_sum(ops.sum(counted)))
    rows = ops.maximum(count, 1.0)
    mean = global_sum(ops.sum(counted * x, axis=axes)) / rows
    variance = global_sum(ops.sum(counted * ops.square(x - mean), axis=axes)) / rows
    return mean, variance, count


def global_sum(values: Tensor) -> Tensor:
    """The sum of every replica's `values`; on one device they are it."""
    return sum_over_replicas(values) if num_replicas() > 1 else values

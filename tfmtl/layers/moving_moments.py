"""Means and variances over the global batch, and moving averages of them for inference."""

from typing import Any

from tfmtl.cross_replica import num_replicas, sum_over_replicas
from tfmtl.keras_host import add_statistic, ops
from tfmtl.typing import Tensor

MOMENTUM = 0.9
"""The default of every layer here. Keras's 0.99 goes by hundreds of steps, in which the layers below become others."""


def check_averaging(momentum: float, epsilon: float) -> None:
    """Raises ValueError unless `momentum` is in [0, 1) and `epsilon`, which is added to variances, above 0."""
    if not 0 <= momentum < 1:
        raise ValueError(f"`momentum` must be in [0, 1). Received: momentum={momentum}")
    if not epsilon > 0:
        raise ValueError(f"`epsilon` must be > 0. Received: epsilon={epsilon}")


def add_moving_moments(layer: Any, shape: tuple[int, ...]) -> None:
    """Gives `layer` the weights `moving_mean`, `moving_variance` and `moving_rows`: how many rows either stands for."""
    layer.moving_mean = add_statistic(layer, "moving_mean", shape, "zeros")
    layer.moving_variance = add_statistic(layer, "moving_variance", shape, "ones")
    layer.moving_rows = add_statistic(layer, "moving_rows", shape, "zeros")


def moving_moments(layer: Any) -> tuple[Tensor, Tensor]:
    """The averages for inference: 0 and 1 where nothing was seen yet."""
    return ops.convert_to_tensor(layer.moving_mean), ops.convert_to_tensor(layer.moving_variance)


def take_in(layer: Any, mean: Tensor, variance: Tensor, rows: Tensor, momentum: float) -> None:
    """Takes the moments of a batch into the moving averages of `layer`.

    ```
    n       <- momentum n + (1 - momentum) rows
    average <- average + (1 - momentum) rows / n (value - average)
    ```

    So an average is the mean of all values seen, weighted by their rows and by `momentum` to the power of their age. The
    start weighs nothing, as after the division by `1 - momentum^t` in Adam. Where there are no rows nothing changes.

    Args:
        layer: has what `add_moving_moments` gives.
        mean: of the batch, of the averages' shape.
        variance: likewise.
        rows: that they were taken from; of a shape that broadcasts with theirs.
        momentum: in [0, 1).
    """
    share = (1 - momentum) * rows
    # Without rows there is no decay either: rare ones would be forgotten.
    old = ops.convert_to_tensor(layer.moving_rows)
    total = ops.where(rows > 0, momentum * old + share, old)
    step = share / ops.maximum(total, 1e-12)
    layer.moving_rows.assign(total)
    for average, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average + step * (ops.stop_gradient(value) - average))


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

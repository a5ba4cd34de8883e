"""An activation that bends where its inputs lie."""

from typing import Any

from tfmtl.cross_replica import num_replicas, sum_over_replicas
from tfmtl.keras_host import add_statistic, add_uncast, keras, ops, register_layer
from tfmtl.typing import Tensor


@register_layer
class Dice(keras.layers.Layer):
    """Lets numbers above the mean of their unit pass, and of those below a learned share.

    ```
    p(x) = sigmoid((x - mean) / sqrt(variance + epsilon))
    y    = p(x) x + alpha (1 - p(x)) x                        alpha: one for each unit, 0 at the start
    ```

    In training, mean and variance are those of the global batch, over all replicas and without padding; moving averages of
    them are kept, which inference takes. A batch without an event leaves the averages as they are.

    Args:
        momentum: of the moving averages.
        epsilon: added to variances.

    Input shape:
        `(B, ..., D)`, and as `mask` `(B, ...)`, 1 or true for what counts; None counts all.

    Output shape:
        Same as the input; computed in float32 under every policy.

    Raises:
        ValueError: `momentum` outside [0, 1) or an `epsilon` that is not above 0.

    Example:

    >>> import keras
    >>> from tfmtl.layers import Dice
    >>> tuple(Dice()(keras.random.normal((8, 20, 36))).shape)
    (8, 20, 36)

    Reference:
        Zhou et al., "Deep Interest Network for Click-Through Rate Prediction" (DIN), KDD 2018, arXiv:1706.06978, equation 3.
        `momentum` and `epsilon` are those of Keras's `BatchNormalization`; the paper has an epsilon of 1e-8.
    """

    def __init__(self, *, momentum: float = 0.99, epsilon: float = 1e-3, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1). Received: momentum={momentum}")
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be > 0. Received: epsilon={epsilon}")
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        self.alpha = add_uncast(self, "alpha", (width,), "zeros")
        self.moving_mean = add_statistic(self, "moving_mean", (width,), "zeros")
        self.moving_variance = add_statistic(self, "moving_variance", (width,), "ones")
        self.built = True

    def call(self, x: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        x = ops.cast(x, "float32")
        if training and self.trainable:
            mean, variance = self._of_batch(x, mask)
        else:
            mean, variance = ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)
        passed = ops.sigmoid((x - mean) * ops.rsqrt(variance + self.epsilon))
        return ops.cast(passed * x + self.alpha * (1.0 - passed) * x, self.compute_dtype)

    def _of_batch(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and variance of each unit in this batch, `(D,)`; takes them into the moving averages."""
        counted = ops.ones_like(x[..., :1]) if mask is None else ops.cast(mask, "float32")[..., None]
        axes = tuple(range(len(x.shape) - 1))
        count = ops.stop_gradient(_over_replicas(ops.sum(counted)))
        rows = ops.maximum(count, 1.0)
        mean = _over_replicas(ops.sum(counted * x, axis=axes)) / rows
        variance = _over_replicas(ops.sum(counted * ops.square(x - mean), axis=axes)) / rows
        seen = ops.cast(count > 0, "float32") * (1 - self.momentum)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average + seen * (ops.stop_gradient(value) - average))
        return mean, variance

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


def _over_replicas(values: Tensor) -> Tensor:
    return sum_over_replicas(values) if num_replicas() > 1 else values

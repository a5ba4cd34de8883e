"""Batch normalisation that is the same on one device and on several, and ready for inference after the first steps."""

from typing import Any

from tfmtl.keras_host import add_uncast, ops, register_layer
from tfmtl.layers.moving_moments import MOMENTUM, MovingMoments
from tfmtl.typing import Tensor


@register_layer
class GlobalBatchNormalization(MovingMoments):
    """Normalises each unit by its mean and variance over the global batch.

    ```
    y = gamma (x - mean) / sqrt(variance + epsilon) + beta
    ```

    In training, mean and variance are those of the batch, over all replicas and without padding. Inference takes moving
    averages of them, in which what they started with weighs nothing:

    ```
    average_t = sum_s momentum^(t - s) n_s value_s / sum_s momentum^(t - s) n_s         n_s: the rows of step s
    ```

    Args:
        momentum: of the moving averages.
        epsilon: added to variances.

    Input shape:
        `(B, ..., D)`, and as `mask` `(B, ...)`, 1 or true for what counts; None counts all.

    Output shape:
        Same as the input; computed in float32 under every policy, returned in the layer's compute dtype.

    Raises:
        ValueError: `momentum` outside [0, 1) or an `epsilon` that is not above 0.

    Example:

    >>> import keras
    >>> from tfmtl.layers import GlobalBatchNormalization
    >>> layer = GlobalBatchNormalization()
    >>> tuple(layer(keras.random.normal((8, 100), mean=3.0), training=True).shape)
    (8, 100)
    >>> float(abs(keras.ops.mean(layer(keras.random.normal((8, 100), mean=3.0))))) < 0.5  # after one step
    True

    Reference:
        Ioffe & Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
        ICML 2015, arXiv:1502.03167. Keras's layer differs in three ways: its averages start with 0 and 1 and hold a fifth of
        that after 160 steps, more than a small data set has in an epoch; its default momentum is 0.99, here 0.9; and it counts
        each replica for itself unless asked.
    """

    def __init__(self, *, momentum: float = MOMENTUM, epsilon: float = 1e-3, **kwargs: Any):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        self.gamma = add_uncast(self, "gamma", (width,), "ones")
        self.beta = add_uncast(self, "beta", (width,), "zeros")
        self.add_averages((width,))
        self.built = True

    def call(self, x: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        x = ops.cast(x, "float32")
        mean, variance = self.moments(x, mask, training)
        scale = ops.convert_to_tensor(self.gamma) * ops.rsqrt(variance + self.epsilon)
        return ops.cast((x - mean) * scale + ops.convert_to_tensor(self.beta), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape)

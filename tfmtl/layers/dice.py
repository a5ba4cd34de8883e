"""An activation that bends where its inputs lie."""

from typing import Any

from tfmtl.keras_host import add_uncast, ops, register_layer
from tfmtl.layers.moving_moments import MOMENTUM, MovingMoments
from tfmtl.typing import Tensor


@register_layer
class Dice(MovingMoments):
    """Lets numbers above the mean of their unit pass, and of those below a learned share.

    ```
    p(x) = sigmoid((x - mean) / sqrt(variance + epsilon))
    y    = p(x) x + alpha (1 - p(x)) x                        alpha: one for each unit, 0 at the start
    ```

    In training, mean and variance are those of the global batch, over all replicas and without padding; inference takes moving
    averages of them, kept as `GlobalBatchNormalization` says. A batch without an event leaves the averages as they are.

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
        `epsilon` is that of Keras's `BatchNormalization`, the paper's is 1e-8; of the moving averages it says nothing.
    """

    def __init__(self, *, momentum: float = MOMENTUM, epsilon: float = 1e-3, **kwargs: Any):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        self.alpha = add_uncast(self, "alpha", (width,), "zeros")
        self.add_averages((width,))
        self.built = True

    def call(self, x: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        x = ops.cast(x, "float32")
        mean, variance = self.moments(x, mask, training)
        passed = ops.sigmoid((x - mean) * ops.rsqrt(variance + self.epsilon))
        return ops.cast(passed * x + self.alpha * (1.0 - passed) * x, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape)

"""A logistic curve over the logit of a probability."""

from typing import Any

from tfmtl.initializers import starting_at
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.masked_rows import EPSILON
from tfmtl.typing import Tensor


@register_layer
class PlattScaling(keras.layers.Layer):
    """Maps a probability through a line over its logit.

    ```
    q = sigmoid(a logit(p) + b)        p read as lying in [1e-7, 1 - 1e-7]
    ```

    Fresh, it maps every probability to itself; `tfmtl.models.calibrated` fits `a` and `b`. They are not trained by `fit`.

    Input shape:
        `(B, 1)`, a probability.

    Output shape:
        `(B, 1)`, float32 under every policy.

    Example:

    >>> import numpy as np
    >>> from tfmtl.layers import PlattScaling
    >>> layer = PlattScaling()
    >>> layer.build((None, 1))
    >>> layer.set_weights([np.array([1.0, np.log(2.0)])])
    >>> round(float(layer(np.array([[0.5]]))[0, 0]), 4)
    0.6667

    Reference:
        Platt, "Probabilistic Outputs for Support Vector Machines", 1999; over a logit in place of a margin.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})  # as predictions are under every policy

    def build(self, input_shape: Any) -> None:
        self.line = self.add_weight(name="line", shape=(2,), initializer=starting_at([1.0, 0.0]), trainable=False)
        self.built = True

    def call(self, probabilities: Tensor) -> Tensor:
        clipped = ops.clip(ops.cast(probabilities, "float32"), EPSILON, 1.0 - EPSILON)
        slope, intercept = ops.unstack(ops.convert_to_tensor(self.line), 2)
        return ops.sigmoid(slope * (ops.log(clipped) - ops.log(1.0 - clipped)) + intercept)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

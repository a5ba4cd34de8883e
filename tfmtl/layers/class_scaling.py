"""Platt's curve over the probabilities of classes."""

from typing import Any

import numpy as np

from tfmtl.checks import check_count
from tfmtl.initializers import starting_at
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.masked_rows import EPSILON
from tfmtl.typing import Tensor


@register_layer
class ClassScaling(keras.layers.Layer):
    """Maps the probabilities of classes through a line over their logarithms.

    ```
    q = softmax(a log(p) + b)        a: one for all classes, b: one each; p read as 1e-7 at least
    ```

    Of two classes it is `PlattScaling`. Fresh, it maps probabilities to themselves; `tfmtl.models.calibrated` fits `a` and `b`,
    which `fit` does not train.

    Args:
        num_classes: 2 or more.

    Input shape:
        `(B, num_classes)`, probabilities.

    Output shape:
        `(B, num_classes)`, float32 under every policy, each row's sum 1.

    Raises:
        ValueError: fewer than 2 classes.

    Example:

    >>> import numpy as np
    >>> from tfmtl.layers import ClassScaling
    >>> layer = ClassScaling(3)
    >>> layer.build((None, 3))
    >>> layer.set_weights([np.array([0.0, 0.0, 0.0, np.log(2.0)])])
    >>> [round(float(share), 4) for share in layer(np.array([[0.2, 0.3, 0.5]]))[0]]
    [0.25, 0.25, 0.5]

    Reference:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599, temperature scaling, with an
        intercept for each class as Alexandari et al., "Maximum Likelihood with Bias-Corrected Calibration is
        Hard-To-Beat at Label Shift Adaptation", ICML 2020, arXiv:1901.06852, have it: what is off in a recommender are rates.
    """

    def __init__(self, num_classes: int, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})  # as predictions are under every policy
        self.num_classes = check_count("num_classes", num_classes, least=2)

    def build(self, input_shape: Any) -> None:
        identity = np.eye(1, self.num_classes + 1, dtype="float32")[0]
        # a, b_1 .. b_C
        self.lines = self.add_weight(
            name="lines", shape=identity.shape, initializer=starting_at(identity), trainable=False
        )
        self.built = True

    def call(self, probabilities: Tensor) -> Tensor:
        lines = ops.convert_to_tensor(self.lines)
        logs = ops.log(ops.maximum(ops.cast(probabilities, "float32"), EPSILON))
        return ops.softmax(lines[0] * logs + lines[1:], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}

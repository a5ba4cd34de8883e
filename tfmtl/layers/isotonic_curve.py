"""A rising curve of straight pieces over a prediction."""

from typing import Any

import numpy as np

from tfmtl.checks import check_count
from tfmtl.initializers import starting_at
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import Tensor


@register_layer
class IsotonicCurve(keras.layers.Layer):
    """Maps a probability, or a mean, through a curve that rises from point to point, and is level before the first and after the last.

    ```
    q = q_1 + sum_k (q_{k+1} - q_k) clip((p - p_k) / (p_{k+1} - p_k), 0, 1)
    ```

    Fresh, it is the diagonal from 0 to 1; `tfmtl.models.calibrated` sets the points, which `fit` does not train.

    Args:
        num_points: 2 or more.

    Input shape:
        `(B, 1)`, or `(B, W)`, of which the first column goes through the curve and the others stay as they are.

    Output shape:
        Same as the input, float32 under every policy.

    Raises:
        ValueError: fewer than 2 points.

    Example:

    >>> import numpy as np
    >>> from tfmtl.layers import IsotonicCurve
    >>> layer = IsotonicCurve(3)
    >>> layer.build((None, 1))
    >>> layer.set_weights([np.array([[0.0, 0.5, 1.0], [0.0, 0.2, 1.0]])])
    >>> round(float(layer(np.array([[0.25]]))[0, 0]), 4)
    0.1
    """

    def __init__(self, num_points: int, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})  # as predictions are under every policy
        self.num_points = check_count("num_points", num_points, least=2)

    def build(self, input_shape: Any) -> None:
        diagonal = np.tile(np.linspace(0, 1, self.num_points, dtype="float32"), (2, 1))
        # p_k, q_k
        self.points = self.add_weight(
            name="points", shape=diagonal.shape, initializer=starting_at(diagonal), trainable=False
        )
        self.built = True

    def call(self, predictions: Tensor) -> Tensor:
        predictions = ops.cast(predictions, "float32")
        places, values = ops.unstack(ops.convert_to_tensor(self.points), 2)
        passed = (predictions[:, :1] - places[:-1]) / (places[1:] - places[:-1])  # (B, K - 1)
        rises = ops.expand_dims(values[1:] - values[:-1], -1)
        mapped = values[0] + ops.matmul(ops.clip(passed, 0.0, 1.0), rises)
        return mapped if predictions.shape[-1] == 1 else ops.concatenate([mapped, predictions[:, 1:]], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_points": self.num_points}

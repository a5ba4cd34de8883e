"""The gate that scales units of a network up or down, row by row."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import Tensor


@register_layer
class GateNU(keras.layers.Layer):
    """Gives every unit of another tensor a factor around 1.

    ```
    h = relu(x W_1 + b_1)                     (B, hidden_units)
    g = scale * sigmoid(h W_2 + b_2)          (B, units), in (0, scale)
    ```

    Args:
        units: how many factors.
        hidden_units: width of the hidden layer; None takes `units`.
        scale: the largest factor; at 2, the paper's, the gate starts around 1.

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, units)`; the sigmoid is float32 under every policy, the result in the layer's compute dtype.

    Raises:
        ValueError: a width below 1, or a scale that is not above 0.

    Example:

    >>> import keras
    >>> from tfmtl.layers import GateNU
    >>> tuple(GateNU(32)(keras.random.normal((8, 100))).shape)
    (8, 32)

    Reference:
        Chang et al., "PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior
        Information", KDD 2023, arXiv:2302.01115, section 3.2. The paper leaves the width of the hidden layer open; the default
        is the one that TorchEasyRec takes for the gates of towers.
    """

    def __init__(self, units: int, *, hidden_units: int | None = None, scale: float = 2.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = check_count("units", units)
        self.hidden_units = None if hidden_units is None else check_count("hidden_units", hidden_units)
        if not scale > 0:
            raise ValueError(f"`scale` must be > 0. Received: scale={scale}")
        self.scale = scale
        width = self.hidden_units or self.units
        self.hidden = keras.layers.Dense(width, activation="relu", dtype=self.dtype_policy, name="hidden")
        self.logits = keras.layers.Dense(self.units, dtype=self.dtype_policy, name="logits")

    def build(self, input_shape: Any) -> None:
        self.hidden.build(input_shape)
        self.logits.build((*input_shape[:-1], self.hidden.units))
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        logits = ops.cast(self.logits(self.hidden(x)), "float32")
        return ops.cast(self.scale * ops.sigmoid(logits), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "hidden_units": self.hidden_units,
            "scale": self.scale,
        }

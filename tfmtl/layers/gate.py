"""The softmax that chooses among experts."""

from collections.abc import Sequence
from typing import Any

from tfmtl.checks import check_count, check_units
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.mlp import MLP
from tfmtl.typing import Tensor


@register_layer
class Gate(keras.layers.Layer):
    """Gives every candidate a weight; the weights of a row sum to 1.

    ```
    w = softmax(MLP(x) W_g [+ b_g])        (B, num)
    ```

    Args:
        num: candidates.
        units: hidden layers before the softmax; PLE and MMoE have none.
        use_bias: whether the last layer has a bias; the papers' formula has none.

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, num)`, computed in float32 under every policy, returned in the layer's compute dtype.

    Raises:
        ValueError: `num < 1` or a width below 1.

    Example:

    >>> import keras
    >>> from tfmtl.layers import Gate
    >>> tuple(Gate(6)(keras.random.normal((8, 100))).shape)
    (8, 6)
    """

    def __init__(self, num: int, *, units: Sequence[int] = (), use_bias: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.num = check_count("num", num)
        self.units = check_units("units", units)
        self.use_bias = use_bias
        self.hidden = MLP(self.units, dtype=self.dtype_policy, name="hidden")
        self.logits = keras.layers.Dense(self.num, use_bias=use_bias, dtype=self.dtype_policy, name="logits")

    def build(self, input_shape: Any) -> None:
        self.hidden.build(input_shape)
        self.logits.build(self.hidden.compute_output_shape(input_shape))
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        logits = self.logits(self.hidden(x) if self.units else x)
        return ops.cast(ops.softmax(ops.cast(logits, "float32"), axis=-1), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.num)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num": self.num, "units": list(self.units), "use_bias": self.use_bias}

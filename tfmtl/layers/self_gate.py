"""How much of its own experts a mixture takes beside what its gate gives it."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import Tensor


@register_layer
class SelfGate(keras.layers.Layer):
    """Gives the experts that a mixture owns a second weight, which no other expert competes for.

    ```
    a = softmax(x W)        sigmoid(x W) of a single expert
    ```

    Args:
        num: experts.

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, num)`, computed in float32 under every policy, returned in the layer's compute dtype.

    Raises:
        ValueError: no expert.

    Example:

    >>> import keras
    >>> from tfmtl.layers import SelfGate
    >>> tuple(SelfGate(1)(keras.random.normal((8, 100))).shape)
    (8, 1)

    Reference:
        Wang et al., "HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou", 2024, arXiv:2408.05430,
        the self gate.
    """

    def __init__(self, num: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num = check_count("num", num)
        self.logits = keras.layers.Dense(self.num, use_bias=False, dtype=self.dtype_policy, name="logits")

    def build(self, input_shape: Any) -> None:
        self.logits.build(input_shape)
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        logits = ops.cast(self.logits(x), "float32")
        weights = ops.sigmoid(logits) if self.num == 1 else ops.softmax(logits, axis=-1)
        return ops.cast(weights, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.num)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num": self.num}

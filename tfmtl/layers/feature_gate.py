"""Which of its input's features an expert reads."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.initializers import PerExpert
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import Tensor


@register_layer
class FeatureGate(keras.layers.Layer):
    """Scales every number of a tensor by what the whole of it says, through matrices of low rank.

    ```
    f_k = 2 sigmoid(x B_k A_k)                     B_k: (D, r), A_k: (r, D), r = D // num, k = 1 .. num
    y   = x * sum_k softmax(x V)_k f_k
    ```

    Args:
        num: pairs of matrices; of a single one nothing is chosen.

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, D)`; sigmoid and softmax are float32 under every policy.

    Raises:
        ValueError: no pair, or more than numbers to scale.

    Example:

    >>> import keras
    >>> from tfmtl.layers import FeatureGate
    >>> tuple(FeatureGate()(keras.random.normal((8, 100))).shape)
    (8, 100)

    Reference:
        Wang et al., "HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou", 2024, arXiv:2408.05430,
        the feature gate, with two pairs as there. Where `num` does not divide D the rank is rounded down, our choice.
    """

    def __init__(self, num: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.num = check_count("num", num)

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        if width < self.num:
            raise ValueError(f"`num` must be <= {width}, the width of the input. Received: num={self.num}")
        rank = width // self.num
        glorot = PerExpert("glorot_uniform", self.num)
        self.down = self.add_weight(name="down", shape=(width, self.num * rank), initializer=glorot)
        self.up = self.add_weight(name="up", shape=(self.num, rank, width), initializer=glorot)
        self.choice: Any = None  # one pair has nothing to be chosen from
        if self.num > 1:
            self.choice = self.add_weight(name="choice", shape=(width, self.num), initializer="glorot_uniform")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        dtype = self.compute_dtype
        rank = self.up.shape[1]
        low = ops.reshape(ops.matmul(x, ops.cast(self.down, dtype)), (-1, self.num, rank))
        logits = ops.transpose(ops.matmul(ops.transpose(low, (1, 0, 2)), ops.cast(self.up, dtype)), (1, 0, 2))
        factors = 2.0 * ops.sigmoid(ops.cast(logits, "float32"))  # f: (B, num, D)
        if self.choice is not None:
            choice = ops.softmax(ops.cast(ops.matmul(x, ops.cast(self.choice, dtype)), "float32"), axis=-1)
            factors = ops.expand_dims(choice, -1) * factors
        return x * ops.cast(ops.sum(factors, axis=1), dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num": self.num}

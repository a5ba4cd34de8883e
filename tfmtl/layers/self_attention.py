"""Attention of a sequence to itself."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.initializers import PerExpert
from tfmtl.keras_host import add_uncast, keras, ops, register_layer
from tfmtl.typing import Tensor

MASKED = -1e9
"""Added to the score of padding; in float32 its softmax weight is exactly 0 next to any event."""


@register_layer
class SelfAttention(keras.layers.Layer):
    """Lets every event of a sequence attend to all events of that sequence.

    ```
    q, k, v = x W_q, x W_k, x W_v                                    split into heads of width D / num_heads
    y = concat_heads(softmax(q k^T / sqrt(D / num_heads)) v) W_o     padding has weight 0

    with use_bias: q = x W_q + b_q, v = x W_v + b_v, y = ... W_o + b_o
    ```

    Keras' `MultiHeadAttention` takes its softmax in the compute dtype and uses three matmuls where one will do; here
    the softmax is float32 under every policy. A key has no bias: it would add the same to all scores of a query, and never get a
    gradient.

    Args:
        num_heads: must divide `D`.
        use_bias: whether queries, values and the output have a bias, as the layers of most frameworks do.

    Call arguments:
        x: `(N, L, D)`.
        mask: `(N, L)` bool, true for events. A row without events gets the mean of its padding.

    Output shape:
        `(N, L, D)`.

    Raises:
        ValueError: `num_heads < 1`, or `D` not divisible by it.

    Example:

    >>> import keras
    >>> from tfmtl.layers import SelfAttention
    >>> y = SelfAttention(2)(keras.random.normal((8, 10, 16)), keras.ops.ones((8, 10), dtype="bool"))
    >>> tuple(y.shape)
    (8, 10, 16)
    """

    def __init__(self, num_heads: int, *, use_bias: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_heads = check_count("num_heads", num_heads)
        self.use_bias = use_bias

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        if width % self.num_heads:
            raise ValueError(f"`num_heads` must divide the width {width}. Received: num_heads={self.num_heads}")
        drawn = PerExpert("glorot_uniform", 3)
        self.project = keras.layers.Dense(
            3 * width, use_bias=False, kernel_initializer=drawn, dtype=self.dtype_policy, name="project"
        )
        self.merge = keras.layers.Dense(width, use_bias=self.use_bias, dtype=self.dtype_policy, name="merge")
        if self.use_bias:  # of queries and values
            self.biases = add_uncast(self, "biases", (2, width), "zeros")
        self.project.build((None, width))
        self.merge.build((None, width))
        self.built = True

    def call(self, x: Tensor, mask: Tensor) -> Tensor:
        length, width = ops.shape(x)[1], x.shape[2]
        head = width // self.num_heads
        qkv = ops.reshape(self.project(ops.reshape(x, (-1, width))), (-1, length, 3, self.num_heads, head))
        query, key, value = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)), 3)  # each (N, H, L, D / H)
        if self.use_bias:
            biases = ops.cast(ops.convert_to_tensor(self.biases), qkv.dtype)
            of_heads = ops.reshape(biases, (2, self.num_heads, 1, head))
            query, value = query + of_heads[0], value + of_heads[1]
        scores = ops.cast(ops.matmul(query * head**-0.5, ops.swapaxes(key, -1, -2)), "float32")  # (N, H, L, L)
        scores = scores + ops.cast(ops.where(mask, 0.0, MASKED), "float32")[:, None, None, :]
        mixed = ops.matmul(ops.cast(ops.softmax(scores, axis=-1), value.dtype), value)  # (N, H, L, D / H)
        mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, width))
        return ops.reshape(self.merge(mixed), ops.shape(x))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_heads": self.num_heads, "use_bias": self.use_bias}

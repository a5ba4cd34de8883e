"""Several expert networks that read the same tensor."""

from collections.abc import Sequence
from typing import Any

from tfmtl.checks import check_count, check_dropout, check_units
from tfmtl.initializers import PerExpert, fresh
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.fast.relu_dense import is_fast_for, relu_dense
from tfmtl.typing import Tensor


@register_layer
class Experts(keras.layers.Layer):
    """Applies `num` expert MLPs to one input, in one matmul a layer.

    ```
    e_i = relu(... relu(x W_{i,1} + b_{i,1}) ... W_{i,L} + b_{i,L})        i = 1 .. num
    ```

    The first kernels lie transposed, one below the other, in one `(num * units[0], D)` matrix, so the experts cost one wide
    matmul and a free reshape; that way round, the gradient of `x` is a product of two matrices as they lie in memory. Deeper
    layers are one batched matmul of `(num, units[l-1], units[l])`.

    Args:
        num: experts.
        units: width of an expert's layer, or of each of its layers.
        activation: after every layer, the last one included.
        dropout: share of units set to zero in training, after every layer.
        kernel_initializer: draws every expert's kernels for itself (`tfmtl.initializers.PerExpert`).

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, num, units[-1])`.

    Raises:
        ValueError: `num < 1`, no unit, a width below 1, or `dropout` outside [0, 1).

    Example:

    >>> import keras
    >>> from tfmtl.layers import Experts
    >>> tuple(Experts(4, 32)(keras.random.normal((8, 100))).shape)
    (8, 4, 32)
    """

    def __init__(
        self,
        num: int,
        units: int | Sequence[int],
        *,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num = check_count("num", num)
        self.units = check_units("units", units, least=1)
        check_dropout(dropout)
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="drop") if dropout else None

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 2:
            raise ValueError(f"The input must be (B, D). Received: shape={tuple(input_shape)}")
        width = input_shape[-1]
        self.kernels, self.biases = [], []
        for depth, units in enumerate(self.units):
            shape = (self.num * units, width) if depth == 0 else (self.num, width, units)
            bias = (self.num * units,) if depth == 0 else (self.num, units)
            drawn = PerExpert(fresh(self.kernel_initializer, depth), self.num, transposed=depth == 0)
            self.kernels.append(self.add_weight(name=f"kernel_{depth}", shape=shape, initializer=drawn))
            self.biases.append(self.add_weight(name=f"bias_{depth}", shape=bias, initializer="zeros"))
            width = units
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        return self.apply(x, self.kernels, self.biases, training)

    def apply(self, x: Tensor, kernels: Sequence[Any], biases: Sequence[Any], training: bool | None) -> Tensor:
        """The formula above with these weights, one entry a layer, which lie as this layer's own do."""
        dtype = self.compute_dtype
        h = self._first(x, ops.cast(kernels[0], dtype), ops.cast(biases[0], dtype), training)
        h = self._drop(h, training)
        h = ops.reshape(h, (-1, h.shape[-1] // self.units[0], self.units[0]))
        if len(self.units) > 1:
            h = ops.transpose(h, (1, 0, 2))  # (E, B, U)
            for kernel, bias in zip(kernels[1:], biases[1:], strict=True):
                h = ops.matmul(h, ops.cast(kernel, dtype)) + ops.cast(bias, dtype)[:, None, :]
                h = self._drop(self.activation(h), training)
            h = ops.transpose(h, (1, 0, 2))
        return h  # (B, E, U)

    def _first(self, x: Tensor, kernel: Tensor, bias: Tensor, training: bool | None) -> Tensor:
        """The first layer of all experts, `(B, E U)`."""
        if training and is_fast_for(self.activation):
            return relu_dense(x, kernel, bias)
        # `add` of a vector after a 2-D matmul becomes a bias that the CPU kernel fuses with matmul and activation.
        return self.activation(ops.add(ops.matmul(x, ops.transpose(kernel)), bias))

    def _drop(self, h: Tensor, training: bool | None) -> Tensor:
        return h if self.drop is None else self.drop(h, training=training)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0], self.num, self.units[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num": self.num,
            "units": list(self.units),
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

"""Several expert networks that read the same tensor."""

from collections.abc import Sequence
from typing import Any

from tfmtl.initializers import PerExpert, fresh
from tfmtl.keras_host import keras, ops, register
from tfmtl.layers.core.mlp import check_units
from tfmtl.typing import Tensor


@register
class Experts(keras.layers.Layer):
    """Applies `num` expert MLPs to one input, in one matmul a layer.

    ```
    e_i = relu(... relu(x W_{i,1} + b_{i,1}) ... W_{i,L} + b_{i,L})        i = 1 .. num
    ```

    The first kernels lie side by side in one `(D, num * units[0])` matrix, so the experts cost one wide matmul and a free
    reshape; deeper layers are one batched matmul of `(num, units[l-1], units[l])`.

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
        if not isinstance(num, int) or num < 1:
            raise ValueError(f"`num` must be an integer >= 1. Received: num={num}")
        self.num = num
        self.units = check_units("units", units)
        if not self.units:
            raise ValueError("`units` needs one width or more. Received: units=()")
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout}")
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy) if dropout else None

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        self.kernels, self.biases = [], []
        for depth, units in enumerate(self.units):
            wide = (width, self.num * units) if depth == 0 else (self.num, width, units)
            bias = (self.num * units,) if depth == 0 else (self.num, units)
            drawn = PerExpert(fresh(self.kernel_initializer, depth), self.num)
            self.kernels.append(self.add_weight(name=f"kernel_{depth}", shape=wide, initializer=drawn))
            self.biases.append(self.add_weight(name=f"bias_{depth}", shape=bias, initializer="zeros"))
            width = units
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        dtype = self.compute_dtype
        # `add` of a vector after a 2-D matmul becomes a bias that the CPU kernel fuses with matmul and activation.
        h = ops.add(ops.matmul(x, ops.cast(self.kernels[0], dtype)), ops.cast(self.biases[0], dtype))
        h = self._finish(h, training)
        if len(self.units) > 1:
            h = ops.transpose(ops.reshape(h, (-1, self.num, self.units[0])), (1, 0, 2))  # (E, B, U)
            for kernel, bias in zip(self.kernels[1:], self.biases[1:], strict=True):
                h = ops.matmul(h, ops.cast(kernel, dtype)) + ops.cast(bias, dtype)[:, None, :]
                h = self._finish(h, training)
            return ops.transpose(h, (1, 0, 2))  # (B, E, U)
        return ops.reshape(h, (-1, self.num, self.units[0]))

    def _finish(self, h: Tensor, training: bool | None) -> Tensor:
        h = self.activation(h)
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

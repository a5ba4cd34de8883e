"""A stack of dense layers."""

from collections.abc import Sequence
from typing import Any

from tfmtl.checks import check_dropout, check_units
from tfmtl.initializers import fresh
from tfmtl.keras_host import keras, register_layer
from tfmtl.layers.global_batch_normalization import GlobalBatchNormalization
from tfmtl.typing import Tensor


@register_layer
class MLP(keras.layers.Layer):
    """Applies dense layers one after the other.

    ```
    h_0 = x,   h_l = dropout(norm(activation(h_{l-1} W_l + b_l)))
    ```

    Args:
        units: width of each layer, or of the only one; none passes the input on.
        activation: of every layer.
        dropout: share of units set to zero in training.
        batch_norm: normalise after the activation, as the authors of PLE and MFH do where they use it, by
            `GlobalBatchNormalization`.
        use_bias: whether layers have a bias.
        kernel_initializer: of every kernel.

    Input shape:
        `(..., D)`.

    Output shape:
        `(..., units[-1])`.

    Raises:
        ValueError: a width below 1, or `dropout` outside [0, 1).

    Example:

    >>> import keras
    >>> from tfmtl.layers import MLP
    >>> tuple(MLP([64, 32])(keras.random.normal((8, 100))).shape)
    (8, 32)
    """

    def __init__(
        self,
        units: int | Sequence[int],
        *,
        activation: Any = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = check_units("units", units)
        check_dropout(dropout)
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.steps = [step for depth, width in enumerate(self.units) for step in self._layer(depth, width)]

    def _layer(self, depth: int, width: int) -> list[Any]:
        initializer = fresh(self.kernel_initializer, depth)
        options = {"activation": self.activation, "use_bias": self.use_bias, "kernel_initializer": initializer}
        steps = [keras.layers.Dense(width, dtype=self.dtype_policy, name=f"dense_{depth}", **options)]
        if self.batch_norm:
            steps.append(GlobalBatchNormalization(dtype=self.dtype_policy, name=f"norm_{depth}"))
        if self.dropout:
            steps.append(keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name=f"drop_{depth}"))
        return steps

    def build(self, input_shape: Any) -> None:
        shape = tuple(input_shape)
        for step in self.steps:
            step.build(shape)
            shape = tuple(step.compute_output_shape(shape))
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        for step in self.steps:
            x = step(x) if isinstance(step, keras.layers.Dense) else step(x, training=training)
        return x

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units[-1]) if self.units else tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": list(self.units),
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "batch_norm": self.batch_norm,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

"""Connections between sub-networks that learn whether they are there."""

import math
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_count, check_option
from tfmtl.initializers import PerExpert, fresh
from tfmtl.keras_host import add_uncast, keras, ops, register, register_layer
from tfmtl.typing import Tensor

Connection: TypeAlias = Literal["transform", "average"]

LEAST = 1e-6
"""The noise lies in `[LEAST, 1 - LEAST]`, where it has a logit in float32."""


@register
class OpenConnections(keras.regularizers.Regularizer):
    """Costs what connections are expected to be open: their L0 norm.

    ```
    penalty = factor * sum_ij sigmoid(a_ij - temperature * log(-low / high))
    ```

    Args:
        factor: of the penalty.
        temperature, low, high: as in `SubnetworkRouting`.
    """

    def __init__(self, factor: float, temperature: float, low: float, high: float):
        self.factor = factor
        self.temperature = temperature
        self.low = low
        self.high = high

    def __call__(self, x: Tensor) -> Tensor:
        chance = ops.sigmoid(x - self.temperature * math.log(-self.low / self.high))
        return self.factor * ops.sum(chance)

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor, "temperature": self.temperature, "low": self.low, "high": self.high}


@register_layer
class SubnetworkRouting(keras.layers.Layer):
    """Feeds every sub-network of a level a weighted sum of those below, by weights that can be exactly 0.

    ```
    s_ij = sigmoid((log u_ij - log(1 - u_ij) + a_ij) / temperature)       u_ij: uniform in (0, 1), drawn at every step
    z_ij = clip(s_ij (high - low) + low, 0, 1)                            inference: s_ij = sigmoid(a_ij)

    "transform":   y_i = activation(sum_j z_ij x_j W_ij + b_i)
    "average":     y_i = activation((sum_j z_ij x_j) W_i + b_i)           without `units`: y_i = sum_j z_ij x_j
    loss += sparsity * sum_ij P(z_ij > 0)
    ```

    `z` is the same for all rows of a step, drawn from the hard concrete distribution whose parameters `a` are learned. Like a
    dropout's, its noise is drawn by every replica for itself.

    Args:
        num: sub-networks of this level.
        units: width of each; None, with `"average"`, hands sums on as they are.
        connection: `"transform"`, a matrix for each connection, or `"average"`, the weight alone.
        activation: of the sub-networks; None is linear.
        sparsity: factor of the expected number of open connections; 0 leaves it out.
        temperature: of the distribution; below 1.
        low, high: how far it is stretched beyond 0 and 1, before it is clipped.
        kernel_initializer: draws every sub-network's kernel for itself.

    Input shape:
        `(B, J, D)`: the sub-networks below.

    Output shape:
        `(B, num, units)`, without `units` `(B, num, D)`.

    Raises:
        ValueError: a count or width below 1, an unknown connection, `"transform"` without `units`, a negative `sparsity`, a
            `temperature` outside (0, 1], or `low` and `high` that do not enclose 0 and 1.

    Example:

    >>> import keras
    >>> from tfmtl.layers import SubnetworkRouting
    >>> tuple(SubnetworkRouting(3, 16)(keras.random.normal((8, 4, 32))).shape)
    (8, 3, 16)

    Reference:
        Ma et al., "SNR: Sub-Network Routing for Flexible Parameter Sharing in Multi-Task Learning", AAAI 2019. Its code is
        not published: temperature and stretch are those of Louizos et al., "Learning Sparse Neural Networks through L0
        Regularization", ICLR 2018, arXiv:1712.01312, and `a` starts around 0, where a connection is as likely strong as
        weak. The matrix of a connection and that of the sub-network behind it, which would follow each other, are one.
    """

    def __init__(
        self,
        num: int,
        units: int | None = None,
        *,
        connection: Connection = "transform",
        activation: Any = "relu",
        sparsity: float = 1e-4,
        temperature: float = 2 / 3,
        low: float = -0.1,
        high: float = 1.1,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num = check_count("num", num)
        self.units = None if units is None else check_count("units", units)
        check_option("connection", connection, Connection)
        if units is None and connection == "transform":
            raise ValueError("connection='transform' needs `units`. Received: units=None")
        if not sparsity >= 0:
            raise ValueError(f"`sparsity` must be >= 0. Received: sparsity={sparsity}")
        if not 0 < temperature <= 1:
            raise ValueError(f"`temperature` must be in (0, 1]. Received: temperature={temperature}")
        if not (low < 0 and high > 1):
            raise ValueError(f"`low` must be < 0 and `high` > 1. Received: low={low}, high={high}")
        self.connection = connection
        self.activation = keras.activations.get(activation)
        self.sparsity = sparsity
        self.temperature = temperature
        self.low = low
        self.high = high
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        # The one source of noise that both hosts have, with the seeds of either.
        self.noise = keras.layers.GaussianNoise(1.0, dtype="float32", name="noise")

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 3:
            raise ValueError(f"The input must be (B, J, D). Received: shape={tuple(input_shape)}")
        _, below, width = input_shape
        punished = OpenConnections(self.sparsity, self.temperature, self.low, self.high) if self.sparsity else None
        start = keras.initializers.RandomNormal(stddev=0.01)
        self.log_alpha = add_uncast(self, "log_alpha", (self.num, below), start, regularizer=punished)
        if self.units is not None:
            # Side by side, the kernel of each sub-network: of all that it reads, or of their sum.
            read = below * width if self.connection == "transform" else width
            drawn = PerExpert(fresh(self.kernel_initializer), self.num)
            self.kernel = self.add_weight(name="kernel", shape=(read, self.num * self.units), initializer=drawn)
            self.bias = self.add_weight(name="bias", shape=(self.num, self.units), initializer="zeros")
        self.noise.build((self.num, below))
        self.built = True

    def connections(self, training: bool | None = None) -> Tensor:
        """`z`, `(num, J)` float32: of a training step drawn anew."""
        logits = ops.convert_to_tensor(self.log_alpha)
        if training:
            drawn = self.noise(ops.zeros_like(logits), training=True)
            uniform = ops.clip(0.5 * (1.0 + ops.erf(drawn * 0.5**0.5)), LEAST, 1.0 - LEAST)
            logits = (ops.log(uniform) - ops.log(1.0 - uniform) + logits) / self.temperature
        return ops.clip(ops.sigmoid(logits) * (self.high - self.low) + self.low, 0.0, 1.0)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        dtype = self.compute_dtype
        _, below, width = x.shape
        z = ops.cast(self.connections(training), dtype)  # (I, J)
        if self.units is None:
            return ops.matmul(z, x)
        if self.connection == "transform":
            kernel = ops.reshape(ops.cast(self.kernel, dtype), (below, width, self.num, self.units))
            kernel = kernel * ops.reshape(ops.transpose(z), (below, 1, self.num, 1))  # z_ij W_ij
            y = ops.matmul(ops.reshape(x, (-1, below * width)), ops.reshape(kernel, (below * width, -1)))
            y = ops.reshape(y, (-1, self.num, self.units))
        else:
            kernels = ops.transpose(ops.reshape(ops.cast(self.kernel, dtype), (width, self.num, self.units)), (1, 0, 2))
            y = ops.transpose(ops.matmul(ops.transpose(ops.matmul(z, x), (1, 0, 2)), kernels), (1, 0, 2))
        return self.activation(y + ops.cast(self.bias, dtype))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0], self.num, self.units or input_shape[2])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num": self.num,
            "units": self.units,
            "connection": self.connection,
            "activation": keras.activations.serialize(self.activation),
            "sparsity": self.sparsity,
            "temperature": self.temperature,
            "low": self.low,
            "high": self.high,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

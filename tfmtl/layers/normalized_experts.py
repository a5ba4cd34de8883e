"""Experts whose outputs have one scale."""

from typing import Any

from tfmtl.checks import check_count, check_dropout
from tfmtl.initializers import PerExpert, fresh
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.global_batch_normalization import GlobalBatchNormalization
from tfmtl.layers.moving_moments import MOMENTUM
from tfmtl.typing import Tensor


@register_layer
class NormalizedExperts(keras.layers.Layer):
    """Applies `num` experts of one layer, each unit of which is normalised over the batch before its activation.

    ```
    e_i = swish(GlobalBatchNormalization(x W_i))        i = 1 .. num
    ```

    A gate compares experts that are alike in mean and variance, and none is off for most rows, as one with a relu may be. In
    training the statistics are those of the global batch, over all replicas.

    Args:
        num: experts.
        units: width of an expert.
        activation: after the normalisation.
        dropout: share of units set to zero in training, after the activation.
        momentum: of the moving averages that inference takes.
        kernel_initializer: draws every expert's kernel for itself.

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, num, units)`.

    Raises:
        ValueError: a count or width below 1, or `dropout` or `momentum` outside [0, 1).

    Example:

    >>> import keras
    >>> from tfmtl.layers import NormalizedExperts
    >>> tuple(NormalizedExperts(4, 32)(keras.random.normal((8, 100))).shape)
    (8, 4, 32)

    Reference:
        Wang et al., "HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou", 2024, arXiv:2408.05430,
        expert normalisation with Swish. A bias before the normalisation would be taken off by it, so there is none.
    """

    def __init__(
        self,
        num: int,
        units: int,
        *,
        activation: Any = "swish",
        dropout: float = 0.0,
        momentum: float = MOMENTUM,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num = check_count("num", num)
        self.units = check_count("units", units)
        check_dropout(dropout)
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        policy = self.dtype_policy
        self.dense = keras.layers.Dense(
            self.num * self.units,
            use_bias=False,
            kernel_initializer=PerExpert(fresh(self.kernel_initializer), self.num),
            dtype=policy,
            name="dense",
        )
        self.norm = GlobalBatchNormalization(momentum=momentum, dtype=policy, name="norm")
        self.drop = keras.layers.Dropout(dropout, dtype=policy, name="drop")

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 2:
            raise ValueError(f"The input must be (B, D). Received: shape={tuple(input_shape)}")
        self.dense.build(input_shape)
        self.norm.build((None, self.num * self.units))
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        h = self._activate(self.norm(self.dense(x), training=training))
        return ops.reshape(self.drop(h, training=training), (-1, self.num, self.units))

    def _activate(self, h: Tensor) -> Tensor:
        """TensorFlow's own swish has a gradient of its own, of which a SavedModel warns whoever loads it."""
        if self.activation is not keras.activations.get("swish"):
            return self.activation(h)
        return h * ops.cast(ops.sigmoid(ops.cast(h, "float32")), h.dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0], self.num, self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num": self.num,
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "momentum": self.norm.momentum,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

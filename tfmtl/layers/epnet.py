"""Embeddings that are scaled for the domain of a row."""

from typing import Any

from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.gate_nu import GateNU
from tfmtl.typing import Tensor


@register_layer
class EPNet(keras.layers.Layer):
    """Scales every number of an embedding by a gate that reads the domain.

    ```
    y = GateNU([d; stop(x)]) * x          d: embeddings of what tells domains apart, x: those of all fields
    ```

    The gate reads `x` without a way back: the tables learn from what they say, not from what the gate makes of it.

    Args:
        hidden_units: width of the gate's hidden layer; None takes that of `x`.
        scale: the gate's largest factor.

    Input shape:
        `[(B, D_domain), (B, D)]`.

    Output shape:
        `(B, D)`.

    Raises:
        ValueError: what `GateNU` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.layers import EPNet
    >>> domain, x = keras.random.normal((8, 16)), keras.random.normal((8, 100))
    >>> tuple(EPNet()([domain, x]).shape)
    (8, 100)

    Reference:
        Chang et al., "PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior
        Information", KDD 2023, arXiv:2302.01115, section 3.3.
    """

    def __init__(self, *, hidden_units: int | None = None, scale: float = 2.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden_units = hidden_units
        self.scale = scale
        self.gate: Any = None

    def build(self, input_shape: Any) -> None:
        domain, x = (tuple(shape) for shape in input_shape)
        self.gate = GateNU(
            x[-1], hidden_units=self.hidden_units, scale=self.scale, dtype=self.dtype_policy, name="gate"
        )
        self.gate.build((x[0], domain[-1] + x[-1]))
        self.built = True

    def call(self, inputs: list[Tensor]) -> Tensor:
        domain, x = inputs
        return self.gate(ops.concatenate([domain, ops.stop_gradient(x)], axis=-1)) * x

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden_units": self.hidden_units, "scale": self.scale}

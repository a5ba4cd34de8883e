"""A dense layer with one kernel for all scenarios and a factor for each."""

from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import Tensor


@register_layer
class StarDense(keras.layers.Layer):
    """Multiplies a shared kernel, entry by entry, by that of the row's scenario.

    ```
    y = activation(x (W * W_p) + b + b_p)          p: the scenario of the row
    ```

    The shared kernel learns from all rows, a scenario's from its own. A scenario's kernel starts at 1 and its bias at 0, so
    one that training has never seen answers by what all others have learned.

    A batch is multiplied by the kernels of all P scenarios, of which each row takes its own: P times the work of a dense
    layer, in one product.

    Args:
        units: width.
        activation: of the layer.
        use_bias: whether it has biases.
        kernel_initializer: of the shared kernel.

    Input shape:
        `[(B, D), (B, P)]`: the rows, and 1 at their scenario, 0 elsewhere.

    Output shape:
        `(B, units)`.

    Raises:
        ValueError: a width below 1.

    Example:

    >>> import keras
    >>> from tfmtl.layers import StarDense
    >>> x, scenario = keras.random.normal((8, 100)), keras.ops.one_hot([0, 1, 2, 0, 1, 2, 0, 1], 3)
    >>> tuple(StarDense(32)([x, scenario]).shape)
    (8, 32)

    Reference:
        Sheng et al., "One Model to Serve All: Star Topology Adaptive Recommender for Multi-Domain CTR Prediction" (STAR),
        CIKM 2021, arXiv:2101.11427, section 4.3. Where a scenario's weights start is not said there; 1 and 0 are our choice.
    """

    def __init__(
        self,
        units: int,
        *,
        activation: Any = "relu",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = check_count("units", units)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Any) -> None:
        (_, width), (_, num) = (tuple(shape) for shape in input_shape)
        self.kernel = self.add_weight(name="kernel", shape=(width, self.units), initializer=self.kernel_initializer)
        self.kernels = self.add_weight(name="scenario_kernels", shape=(num, width, self.units), initializer="ones")
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
            self.biases = self.add_weight(name="scenario_biases", shape=(num, self.units), initializer="zeros")
        self.built = True

    def call(self, inputs: list[Tensor]) -> Tensor:
        x, scenario = inputs
        dtype = self.compute_dtype
        scenario = ops.cast(scenario, dtype)
        kernels = ops.cast(self.kernel, dtype) * ops.cast(self.kernels, dtype)  # W * W_p: (P, D, U)
        everywhere = ops.matmul(x, kernels)  # (P, B, U)
        y = ops.sum(ops.expand_dims(ops.transpose(scenario), -1) * everywhere, axis=0)
        if self.use_bias:
            y = y + ops.cast(self.bias, dtype) + ops.matmul(scenario, ops.cast(self.biases, dtype))
        return self.activation(y)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0][0], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

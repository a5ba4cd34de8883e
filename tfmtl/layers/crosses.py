"""A stack of crosses over all fields of a row."""

from collections.abc import Iterable
from typing import Any

from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.field_interactions import copied_layers
from tfmtl.layers.join_fields import join_fields
from tfmtl.typing import Tensor


@register_layer
class Crosses(keras.layers.Layer):
    """Sets the fields side by side and calls cross layers on them, one after the other.

    ```
    x_0 = [x_1, ..., x_M]           x_{l+1} = L_l(x_0, x_l)
    ```

    The layers are those of other libraries, `keras_rs.layers.FeatureCross` or TFRS's `Cross`: `x_0 * (W x_l + b) + x_l`.

    Args:
        layers: called with `(x_0, x_l)`, one or more; each is copied by its config.

    Input shape:
        `[(B, D_1), ..., (B, D_M)]`.

    Output shape:
        `(B, sum D_f)`.

    Raises:
        ValueError: no layer, something else than a layer, or one that has no config.

    Example:

    >>> import keras
    >>> from tfmtl.layers import Crosses
    >>> @keras.saving.register_keras_serializable("mine")
    ... class Cross(keras.layers.Layer):
    ...     def call(self, x0, x):
    ...         return x0 * x + x
    >>> tuple(Crosses([Cross(), Cross()])([keras.random.normal((8, 16)), keras.random.normal((8, 4))]).shape)
    (8, 20)

    Reference:
        Wang et al., "DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank Systems", WWW
        2021, arXiv:2008.13535.
    """

    def __init__(self, layers: Iterable[Any], **kwargs: Any):
        super().__init__(**kwargs)
        self.layers = copied_layers("layers", layers)

    def build(self, input_shape: Any) -> None:
        row = ops.zeros((1, self._width(input_shape)), self.compute_dtype)
        for layer in self.layers:
            layer(row, row)
        self.built = True

    def call(self, fields: list[Tensor]) -> Tensor:
        first = x = join_fields(fields)
        for layer in self.layers:
            x = layer(first, x)
        return x

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0][0], self._width(input_shape))

    def _width(self, input_shape: Any) -> int:
        return sum(int(shape[-1]) for shape in input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layers": [keras.saving.serialize_keras_object(each) for each in self.layers]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Crosses":
        layers = [keras.saving.deserialize_keras_object(each) for each in config["layers"]]
        return cls(**{**config, "layers": layers})

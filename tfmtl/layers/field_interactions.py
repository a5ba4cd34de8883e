"""Layers over the fields of a row, of whatever library."""

from collections.abc import Iterable
from typing import Any

from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.join_fields import join_fields
from tfmtl.typing import Tensor


@register_layer
class FieldInteractions(keras.layers.Layer):
    """Calls layers on the fields of a row and sets what they make side by side.

    ```
    y = [L_1([x_1, ..., x_M]), ..., L_K([x_1, ..., x_M])]           x_f: the embedding of field f
    ```

    A layer is any of Keras that takes a list of tensors `(B, D_f)` and gives `(B, N)`, such as the `DotInteraction` of
    keras-rs or TFRS. One that takes a single tensor, such as their crosses, goes into `Crosses`. Each is copied by its config,
    so that models do not share it.

    Args:
        layers: what is called, one or more.

    Input shape:
        `[(B, D_1), ..., (B, D_M)]`.

    Output shape:
        `(B, sum N)`.

    Raises:
        ValueError: no layer, something else than a layer, one that has no config to be copied and saved by, or what a layer
            refuses of the fields.

    Example:

    >>> import keras
    >>> from tfmtl.layers import FieldInteractions
    >>> fields = [keras.random.normal((8, 16)), keras.random.normal((8, 16))]
    >>> tuple(FieldInteractions([keras.layers.Multiply(), keras.layers.Dot(axes=1)])(fields).shape)
    (8, 17)
    """

    def __init__(self, layers: Iterable[Any], **kwargs: Any):
        super().__init__(**kwargs)
        self.layers = copied_layers("layers", layers)
        self.widths: list[int] = []

    def build(self, input_shape: Any) -> None:
        # A layer of another library may build its parts when it is first called.
        row = [ops.zeros((1, int(shape[-1])), self.compute_dtype) for shape in input_shape]
        widths = [int(shape[-1]) for shape in input_shape]
        self.widths = [_width_of_one(layer, row, widths) for layer in self.layers]
        self.built = True

    def call(self, fields: list[Tensor]) -> Tensor:
        return join_fields(ops.cast(layer(list(fields)), self.compute_dtype) for layer in self.layers)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0][0], sum(self.widths))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layers": [keras.saving.serialize_keras_object(each) for each in self.layers]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FieldInteractions":
        layers = [keras.saving.deserialize_keras_object(each) for each in config["layers"]]
        return cls(**{**config, "layers": layers})


def copied_layers(name: str, layers: Iterable[Any]) -> list[Any]:
    """Copies of `layers`, by their configs; raises ValueError unless they are layers of this Keras that have one."""
    given = list(layers)
    strange = [each for each in given if not isinstance(each, keras.layers.Layer)]
    if not given or strange:
        raise ValueError(
            f"`{name}` must be layers of {keras.__name__}, one or more. Received: "
            f"{[type(each).__name__ for each in strange] or given}"
        )
    return [_copy(name, each) for each in given]


def _copy(name: str, layer: Any) -> Any:
    try:
        return type(layer).from_config(layer.get_config())
    except (NotImplementedError, TypeError) as error:
        raise ValueError(
            f"`{name}` must have configs, by which Keras saves and loads them: give a subclass with `get_config`. Received: "
            f"{type(layer).__name__}, {error}"
        ) from error


def _width_of_one(layer: Any, row: list[Tensor], widths: list[int]) -> int:
    try:
        made = layer(row)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{type(layer).__name__} does not take these fields, a list of (B, D) with D={widths}. Some layers want fields "
            f"of one width; one that takes a single tensor goes into `Crosses`. Received: {error}"
        ) from error
    if len(getattr(made, "shape", ())) != 2:
        raise ValueError(f"A layer over fields must give (B, N). Received: {type(layer).__name__}, which gives {made}")
    return int(made.shape[-1])

"""A network for each task beside a shared one."""

from collections.abc import Sequence
from typing import Any

from tfmtl.keras_host import register_layer
from tfmtl.stages.trunks.static_sharing import Fusion, StaticSharing


@register_layer
class CustomizedSharing(StaticSharing):
    """Fuses every task's own network with a shared one, without gates.

    ```
    y_t = fuse(MLP_t(x_t), MLP_shared(x_shared))
    ```

    Args:
        units: widths of each network's layers.
        fusion: `"concat"`, `"sum"` or `"mean"`.
        activation: of the networks.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`.

    Output shape:
        `{task: (B, units[-1])}`, with `"concat"` twice as wide.

    Raises:
        ValueError: no unit, an unknown fusion, or streams without a task or without `"shared"`.

    Example:

    >>> import keras
    >>> from tfmtl.stages import CustomizedSharing
    >>> x = keras.random.normal((8, 100))
    >>> y = CustomizedSharing((64, 32))({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape)
    (8, 64)

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 5.1.2 and figure 1. The paper does not
        say how the networks are fused.
    """

    def __init__(
        self,
        units: Sequence[int] = (256, 128),
        *,
        fusion: Fusion = "concat",
        activation: Any = "relu",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(units, donors=None, fusion=fusion, activation=activation, name=name, **kwargs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["donors"]
        return config

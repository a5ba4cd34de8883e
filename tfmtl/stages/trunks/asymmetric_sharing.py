"""A network for each task, which chosen tasks read too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfmtl.keras_host import register_layer
from tfmtl.stages.trunks.static_sharing import Fusion, StaticSharing


@register_layer
class AsymmetricSharing(StaticSharing):
    """Fuses every task's own network with those of its donors, which do not read it in return.

    ```
    y_t = fuse(MLP_t(x_t), MLP_d1(x_d1), MLP_d2(x_d2), ...)        d: the donors of t
    ```

    Args:
        units: widths of each network's layers.
        donors: `{task: names of the streams it reads besides its own}`; a task that is not named has none.
        fusion: `"concat"`, `"sum"` or `"mean"`.
        activation: of the networks.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`. `"shared"` may be left out if it is no donor.

    Output shape:
        `{task: (B, units[-1])}`, with `"concat"` as many times wider as the task reads networks.

    Raises:
        ValueError: no unit, an unknown fusion, donors that are one name, a donor or task that is no stream, a donor
            given twice, a task as its own donor, or donors for `"shared"`.

    Example:

    >>> import keras
    >>> from tfmtl.stages import AsymmetricSharing
    >>> x = keras.random.normal((8, 100))
    >>> y = AsymmetricSharing((64, 32), donors={"buy": ["click"]})({"click": x, "buy": x})
    >>> tuple(y["click"].shape), tuple(y["buy"].shape)
    ((8, 32), (8, 64))

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 5.1.2 and figure 1. The paper does not
        say which task reads which, nor how the networks are fused.
    """

    def __init__(
        self,
        units: Sequence[int] = (256, 128),
        *,
        donors: Mapping[str, Iterable[str]],
        fusion: Fusion = "concat",
        activation: Any = "relu",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(units, donors=donors, fusion=fusion, activation=activation, name=name, **kwargs)

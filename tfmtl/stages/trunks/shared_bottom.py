"""One network for all tasks."""

from collections.abc import Sequence
from typing import Any

from tfmtl.keras_host import register_layer
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.stages.trunks.single_task import config_of_networks


@register_layer
class SharedBottom(CGCLayer):
    """Gives all tasks the same MLP: hard parameter sharing.

    ```
    y_t = MLP(x_shared)        the same for every task t
    ```

    Args:
        units: widths of the layers.
        activation: of the layers.
        dropout: share of a layer's units set to zero in training.
        kernel_initializer: of every kernel; each is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`; only the shared stream is read.

    Output shape:
        `{task: (B, units[-1])}`.

    Raises:
        ValueError: no unit, `dropout` outside [0, 1), or streams without a task or without `"shared"`.

    Example:

    >>> import keras
    >>> from tfmtl.stages import SharedBottom
    >>> x = keras.random.normal((8, 100))
    >>> y = SharedBottom((64, 32))({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape)
    (8, 32)

    Reference:
        Caruana, "Multitask Learning", Machine Learning 28, 1997.
    """

    def __init__(
        self,
        units: int | Sequence[int] = (256, 128),
        *,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(
            units,
            num_task_experts=0,
            num_shared_experts=1,
            update_shared=False,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            name=name,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        return config_of_networks(super().get_config())

"""A network for each task."""

from collections.abc import Sequence
from typing import Any

from tfmtl.keras_host import register_layer
from tfmtl.layers.cgc_layer import CGCLayer


@register_layer
class SingleTask(CGCLayer):
    """Gives every task an MLP of its own, and shares nothing.

    ```
    y_t = MLP_t(x_t)
    ```

    Over embeddings that tasks share it is their separate networks; with a schema of one task it is the single-task
    model that a multi-task model is measured against.

    Args:
        units: widths of the layers.
        activation: of the layers.
        dropout: share of a layer's units set to zero in training.
        kernel_initializer: of every kernel; each is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ...}`; the shared stream is not read.

    Output shape:
        `{task: (B, units[-1])}`.

    Raises:
        ValueError: no unit, `dropout` outside [0, 1), or streams without a task.

    Example:

    >>> import keras
    >>> from tfmtl.stages import SingleTask
    >>> x = keras.random.normal((8, 100))
    >>> y = SingleTask((64, 32))({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape)
    (8, 32)
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
            num_task_experts=1,
            num_shared_experts=0,
            update_shared=False,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            name=name,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        return config_of_networks(super().get_config())


def config_of_networks(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a `CGCLayer`'s config that matters where no stream has a choice between experts."""
    fixed = (
        "num_task_experts",
        "num_shared_experts",
        "gate_units",
        "gate_input",
        "gate_use_bias",
        "cross_task",
        "shared_stream_stop_specific",
        "update_shared",
    )
    return {key: value for key, value in config.items() if key not in fixed}

"""No trunk."""

from collections.abc import Mapping
from typing import Any

from tfmtl.keras_host import keras, register_layer
from tfmtl.layers.stream_checks import check_streams, task_names
from tfmtl.typing import Streams


@register_layer
class PassThrough(keras.layers.Layer):
    """Hands every task's stream on as it is, for a head that does all the work.

    ```
    y_t = x_t
    ```

    Args:
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ...}`; the shared stream is not read.

    Output shape:
        `{task: (B, D_task)}`.

    Raises:
        ValueError: streams without a task.

    Example:

    >>> import keras
    >>> from tfmtl.stages import PassThrough
    >>> x = keras.random.normal((8, 100))
    >>> tuple(PassThrough()({"click": x, "buy": x, "shared": x})["buy"].shape)
    (8, 100)
    """

    reads_own = True
    reads_shared = False

    def __init__(self, *, name: str = "trunk", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def build(self, input_shape: Mapping[str, Any]) -> None:
        self.tasks = task_names(input_shape, needs_shared=False)
        self.built = True

    def call(self, streams: Streams) -> Streams:
        check_streams(self, streams)
        return {task: streams[task] for task in self.tasks}

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        return {task: tuple(input_shape[task]) for task in task_names(input_shape, needs_shared=False)}

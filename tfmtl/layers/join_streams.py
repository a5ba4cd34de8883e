"""Nothing that a bottom learned for one task gets lost."""

from collections.abc import Mapping
from typing import Any

from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import SHARED, Streams


@register_layer
class JoinStreams(keras.layers.Layer):
    """Sets streams of the bottom beside what a trunk made of the others.

    ```
    y_t = [trunk_t, x_t, x_shared]        as far as the trunk left x_t and x_shared unread
    ```

    STEM's and DTRN's bottoms give every task a stream of its own. A trunk whose experts read the shared stream only (a
    shared bottom, MMoE, the root of an MFH tree) would leave them behind; `tfmtl.build` joins them before the head.

    Args:
        own: whether to join the task's own stream.
        shared: whether to join the shared stream.

    Input shape:
        `[{task: (B, U)}, {task: (B, D_task), ..., "shared": (B, D_shared)}]`: the trunk's streams and the bottom's.

    Output shape:
        `{task: (B, U [+ D_task] [+ D_shared])}`.

    Raises:
        ValueError: neither of the two, or a task that the bottom does not know.

    Example:

    >>> import keras
    >>> from tfmtl.layers import JoinStreams
    >>> trunk = {"buy": keras.random.normal((8, 16))}
    >>> bottom = {"buy": keras.random.normal((8, 100)), "shared": keras.random.normal((8, 30))}
    >>> y = JoinStreams(own=True, shared=True)([trunk, bottom])
    >>> tuple(y["buy"].shape)
    (8, 146)
    """

    def __init__(self, *, own: bool, shared: bool, **kwargs: Any):
        super().__init__(**kwargs)
        if not own and not shared:
            raise ValueError("Joining needs `own` or `shared`. Received: own=False, shared=False")
        self.own = own
        self.shared = shared

    def _names(self, task: str, bottom: Mapping[str, Any]) -> list[str]:
        names = ([task] if self.own else []) + ([SHARED] if self.shared else [])
        missing = [name for name in names if name not in bottom]
        if missing:
            raise ValueError(f"The bottom's streams lack {missing}. Received: keys={sorted(bottom)}")
        return names

    def build(self, input_shape: Any) -> None:
        self.built = True

    def call(self, streams: list[Streams]) -> Streams:
        trunk, bottom = streams
        return {
            task: ops.concatenate([x, *(bottom[name] for name in self._names(task, bottom))], axis=-1)
            for task, x in trunk.items()
            if task != SHARED
        }

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        trunk, bottom = input_shape
        return {
            task: (shape[0], shape[-1] + sum(bottom[name][-1] for name in self._names(task, bottom)))
            for task, shape in trunk.items()
            if task != SHARED
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "own": self.own, "shared": self.shared}

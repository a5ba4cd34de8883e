"""What every trunk checks of the streams that it reads."""

from collections.abc import Mapping
from typing import Any, Protocol

from tfmtl.typing import SHARED


class BuiltForTasks(Protocol):
    """A layer that knows its tasks once it is built."""

    name: str
    built: bool

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their names."""


def check_streams(layer: BuiltForTasks, streams: Mapping[str, Any]) -> None:
    """Raises ValueError if a built trunk is given streams of other tasks than those it was built for."""
    if layer.built and set(streams) - {SHARED} != set(layer.tasks):
        raise ValueError(
            f"Layer {layer.name!r} was built for the tasks {list(layer.tasks)}. Received: keys={sorted(streams)}"
        )


def task_names(shapes: Mapping[str, Any], *, needs_shared: bool) -> tuple[str, ...]:
    """Names of the tasks among streams of these shapes, sorted, so that weights do not depend on the order of a dict.

    Raises:
        ValueError: no dict, no task, no shared stream where one is needed, or a stream that is not `(B, D)`.
    """
    if not isinstance(shapes, Mapping):
        raise ValueError(
            "A trunk reads streams, a dict {task: tensor, ..., 'shared': tensor}. "
            f"Received: {type(shapes).__name__}. One tensor for all: {{name: x for name in [*tasks, 'shared']}}"
        )
    tasks = tuple(sorted(name for name in shapes if name != SHARED))
    if not tasks:
        raise ValueError(f"The streams hold no task. Received: keys={sorted(shapes)}")
    if needs_shared and SHARED not in shapes:
        raise ValueError(f"The streams lack {SHARED!r}. Received: keys={sorted(shapes)}")
    others = {name: tuple(shape) for name, shape in shapes.items() if len(shape) != 2}
    if others:
        raise ValueError(f"Every stream must be of the shape (B, D). Received: {others}")
    return tasks

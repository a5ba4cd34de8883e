"""What every trunk checks of the streams that it reads."""

from collections.abc import Mapping
from typing import Any

from tfmtl.typing import SHARED


def task_names(streams: Mapping[str, Any], *, needs_shared: bool) -> tuple[str, ...]:
    """Names of the tasks among `streams`, sorted, so that weights do not depend on the order of a dict.

    Raises:
        ValueError: no dict, no task, or no shared stream where one is needed.
    """
    if not isinstance(streams, Mapping):
        raise ValueError(
            "A trunk reads streams, a dict {task: tensor, ..., 'shared': tensor}. "
            f"Received: {type(streams).__name__}. One tensor for all: {{name: x for name in [*tasks, 'shared']}}"
        )
    tasks = tuple(sorted(name for name in streams if name != SHARED))
    if not tasks:
        raise ValueError(f"The streams hold no task. Received: keys={sorted(streams)}")
    if needs_shared and SHARED not in streams:
        raise ValueError(f"The streams lack {SHARED!r}. Received: keys={sorted(streams)}")
    return tasks

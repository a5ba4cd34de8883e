"""Where towers start: at what the labels of their task are on average."""

import warnings
from collections.abc import Mapping, Sequence

from tfmtl.layers.output_links import can_start_at
from tfmtl.schema.tasks import Task

Start = float | Sequence[float]
"""The mean of a task's labels, or the rates of its classes."""


def label_means(tasks: Mapping[str, Task], given: Mapping[str, Start] | None) -> dict[str, Start]:
    """`{task: mean of its labels}`, of a multiclass task the rates of its classes, for the tasks of which it is known: as given, or else as the schema learned it.

    Raises:
        ValueError: one is given for another task.
    """
    if given is not None:
        unknown = sorted(set(given) - set(tasks))
        if unknown:
            raise ValueError(f"`base_rates` must name tasks. Received: {unknown}; tasks: {sorted(tasks)}")
        return dict(given)
    starts = {name: task.start for name, task in tasks.items()}
    known: dict[str, Start] = {
        name: start for name, start in starts.items() if start is not None and can_start_at(tasks[name].output, start)
    }
    warn_of_unknown([name for name in tasks if name not in known])
    return known


def warn_of_unknown(tasks: list[str]) -> None:
    """Says which towers start at 0, a probability of one half: a rare task loses by it."""
    if tasks:
        warnings.warn(
            f"The base rates of {tasks} are not known, so their towers start at 0, for a binary task a probability of one "
            "half: `adapt` learns them from batches with labels, or give `base_rates`.",
            stacklevel=4,
        )

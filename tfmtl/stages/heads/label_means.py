"""Where towers start: at what the labels of their task are on average."""

import warnings
from collections.abc import Mapping

from tfmtl.schema.tasks import Task


def label_means(tasks: Mapping[str, Task], given: Mapping[str, float] | None) -> dict[str, float]:
    """`{task: mean of its labels}` for the tasks of which it is known: as given, or else as the schema learned it.

    Raises:
        ValueError: one is given for another task.
    """
    if given is not None:
        unknown = sorted(set(given) - set(tasks))
        if unknown:
            raise ValueError(f"`base_rates` must name tasks. Received: {unknown}; tasks: {sorted(tasks)}")
        return dict(given)
    known = {name: task.mean for name, task in tasks.items() if task.mean is not None and _is_a_start(task)}
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


def _is_a_start(task: Task) -> bool:
    """A base rate of 0 or 1 has no logit."""
    return task.kind != "binary" or 0 < (task.mean or 0.0) < 1

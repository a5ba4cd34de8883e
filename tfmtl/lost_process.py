"""Where a process of the cluster is gone, training ends with a sentence that names it."""

import json
import os
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

_ROLES = {"ps": "Parameter server", "worker": "Worker", "chief": "The chief, process"}
_COLLECTIVE = "Collective ops is aborted by"
# Who was called in vain, or stands in a list of those that give no signs of life.
_NAMED = re.compile(r"(?:remote target |^)/job:(\w+)/replica:\d+/task:(\d+)", re.MULTILINE)


def naming_lost_process(method: Callable[..., Any]) -> Callable[..., Any]:
    """`method`, whose errors of the network are followed by a ConnectionError that says which process is gone."""

    @wraps(method)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except Exception as error:
            lost = _lost(error)
            if lost is None:
                raise
            raise ConnectionError(
                f"{lost} no longer answers, and training cannot go on without it. End the processes that are left and start "
                "all of them again with the same command: with `tfmtl.training.Resume` training goes on where its last checkpoint is."
            ) from error

    return wrapped


def _lost(error: Exception) -> str | None:
    """The process that an error of TensorFlow is about; None for an error about something else."""
    text = str(error)
    named = _NAMED.findall(text)
    if type(error).__name__ != "UnavailableError" or not (named or _COLLECTIVE in text):
        return None
    # A worker that cannot reach a server is named beside it.
    found = sorted(((role, int(index)) for role, index in named if role in _ROLES), key=lambda each: each[0] != "ps")
    if not found:
        return "A process of the cluster"
    role, index = found[0]
    return f"{_ROLES[role]} {index}{_address(role, index)}"


def _address(role: str, index: int) -> str:
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    addresses = cluster.get(role, [])
    return f" at {addresses[index]}" if index < len(addresses) else ""

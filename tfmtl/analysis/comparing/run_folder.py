"""Finished runs on disk, so that a comparison goes on where it stopped."""

import json
import re
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfmtl.analysis.comparing.model_fingerprint import digest
from tfmtl.analysis.comparing.run import Run
from tfmtl.atomic_file import replacing


class RunFolder:
    """Keeps each finished run as a JSON file, with its predictions of the test rows in a `.npy` beside it.

    A run is known by a digest of all that it depends on: a changed setting, model or data set makes other files. A file is
    there as a whole or not at all, the JSON last, so a process that is killed leaves finished runs only.

    Args:
        folder: made where it does not exist; None keeps nothing.
    """

    def __init__(self, folder: str | PathLike[str] | None):
        self._folder = None if folder is None else Path(folder)

    def load(self, described: dict[str, Any]) -> Run | None:
        """The run that depends on `described`; None where it is not there, or a file of it cannot be read."""
        if self._folder is None:
            return None
        file = self._folder / _name(described)
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            predictions = np.load(file.with_suffix(".npy"))
            return Run(**held["run"], predictions=_by_task(predictions, held["tasks"], held.get("widths")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, described: dict[str, Any], run: Run) -> None:
        """Keeps a finished run."""
        if self._folder is None:
            return
        file = self._folder / _name(described)
        with replacing(file.with_suffix(".npy")) as partial, partial.open("wb") as opened:
            np.save(opened, np.concatenate([y.reshape(len(y), -1).T for y in run.predictions.values()]))
        with replacing(file) as partial:
            widths = [y.size // len(y) for y in run.predictions.values()]
            held = {"depends_on": described, "tasks": list(run.predictions), "widths": widths, "run": run.to_dict()}
            partial.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


def _by_task(rows: np.ndarray, tasks: list[str], widths: list[int] | None) -> dict[str, np.ndarray]:
    """By task `(N,)`, or `(N, width)`, of what holds a row for each column of each task."""
    widths = widths or [1] * len(tasks)
    if sum(widths) != len(rows):
        raise ValueError(f"The predictions of {tasks} must be {sum(widths)} columns. Received: {len(rows)}")
    parts = np.split(rows, np.cumsum(widths)[:-1])
    return {task: part[0] if width == 1 else part.T for task, part, width in zip(tasks, parts, widths, strict=True)}


def _name(described: dict[str, Any]) -> str:
    """The file of a run: a part to be read, and the digest of what it depends on."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", str(described["name"])).strip("-").lower()
    return f"{readable}-{described['seed']}-{digest(described)}.json"

"""Base rates, means, variances and classes of labels."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tfmtl.data.summaries import Moments
from tfmtl.schema import Task


class LabelStatistics:
    """Learns of every task what its labels are on average, over the rows that count.

    Args:
        tasks: the tasks; those that are measured already are left as they are.
    """

    def __init__(self, tasks: tuple[Task, ...]):
        self.tasks = tasks
        self._moments = {task.name: Moments(1) for task in tasks if not task.is_measured}
        self._classes = {task.name: np.zeros(task.num_classes, "int64") for task in tasks if task.num_classes}
        self._rows = dict.fromkeys(self._moments, 0)

    def update(self, labels: Any) -> None:
        """Adds the labels of one batch, `{task: (B,)}` with NaN where a row does not count; nothing where none are given."""
        if not isinstance(labels, Mapping):
            return
        for name, moments in self._moments.items():
            if name in labels:
                task = next(task for task in self.tasks if task.name == name)
                values = task.labels_of(labels[name])
                if values.dtype.kind not in "fiub":
                    raise ValueError(f"The labels of task {name!r} must be numbers. Received: {values.dtype}")
                moments.update(values)
                if task.kind == "multiclass":
                    self._count(task, values[~np.isnan(values.astype("float64"))])
                self._rows[name] += len(values)

    def _count(self, task: Task, labels: np.ndarray) -> None:
        places, counts = labels.astype("int64"), self._classes[task.name]
        if (places != labels).any() or (labels < 0).any() or (labels >= len(counts)).any():
            raise ValueError(
                f"Labels of the multiclass task {task.name!r} must be the index of a class, from 0 to {len(counts) - 1}, or "
                f"missing. Received: labels from {labels.min():g} to {labels.max():g}"
            )
        counts += np.bincount(places, minlength=len(counts))

    def measured(self) -> tuple[Task, ...]:
        """The tasks with what was learned of them."""
        return tuple(self._measured(task) for task in self.tasks)

    def _measured(self, task: Task) -> Task:
        moments = self._moments.get(task.name)
        if moments is None or not self._rows[task.name]:
            return task
        if not moments.count[0]:
            self._warn(task, f"None of {self._rows[task.name]:,} rows has a label of task {task.name!r}")
            return task
        ((mean,), _), (variance,) = moments.statistics(), moments.variance()
        if task.kind == "binary" and not (0 <= mean <= 1):
            raise ValueError(f"Labels of the binary task {task.name!r} must be 0, 1 or missing. Received: mean={mean}")
        if not variance > 0:
            self._warn(task, f"All {int(moments.count[0]):,} labels of task {task.name!r} are {mean:g}")
        if task.kind == "multiclass":
            counts = self._classes[task.name]
            return replace(task, class_rates=tuple((counts / counts.sum()).tolist()))
        return replace(task, mean=mean, variance=None if task.kind == "binary" else float(variance))

    def _warn(self, task: Task, found: str) -> None:
        warnings.warn(
            f"{found}: there is nothing to learn. Its label is {task.label or task.name!r}, its sample space "
            f"{task.sample_space!r}.",
            stacklevel=6,
        )

"""All that the checks look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfmtl.analysis.doctor.mixture_statistics import MixtureStatistics
from tfmtl.analysis.doctor.rows import Rows
from tfmtl.keras_host import keras
from tfmtl.schema import Schema, Task
from tfmtl.training.task_gradients import TaskGradients


@dataclass
class Examination:
    """A model and its data, measured.

    Attributes:
        model: the model.
        schema: its features and tasks.
        rows: of the dataset.
        train: rows of the training set, or None.
        weights: `{task: weight of its loss}`.
        trained: whether the model took a step.
        gradients: of the tasks, or None where they cannot be measured.
        mixtures: its levels of experts and gates.
        chains: chains of steps that layers of the model declare.
        history: `{name: figure of each epoch}`.
        comparison: the result of `compare`, or None.
        initial: the weights before training, in the order of `model.get_weights()`, or None.
        ruined: tasks that a finding speaks of whose predictions mean nothing: later checks leave them out.
        remarks: what could not be looked at, and why.
    """

    model: keras.Model
    schema: Schema
    rows: Rows
    train: Rows | None
    weights: dict[str, float]
    trained: bool
    gradients: TaskGradients | None
    mixtures: list[MixtureStatistics]
    chains: list[tuple[str, ...]]
    history: Mapping[str, Sequence[float]]
    comparison: Any
    initial: Sequence[np.ndarray] | None
    ruined: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)

    @property
    def sound(self) -> list[Task]:
        """The tasks whose predictions can be judged."""
        return [task for task in self.schema.tasks if task.name not in self.ruined]

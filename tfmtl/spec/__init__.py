"""Descriptions of features and tasks."""

from tfmtl.spec.features import Categorical, Feature, Numeric, Sequence
from tfmtl.spec.schema import Schema
from tfmtl.spec.task_grid import TaskGrid
from tfmtl.spec.tasks import Task

__all__ = ["Categorical", "Feature", "Numeric", "Schema", "Sequence", "Task", "TaskGrid"]

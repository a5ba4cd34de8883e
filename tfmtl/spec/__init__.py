"""Descriptions of features and tasks."""

from tfmtl.spec.categorical import Categorical
from tfmtl.spec.features import Feature
from tfmtl.spec.numeric import Numeric
from tfmtl.spec.schema import Schema
from tfmtl.spec.sequence import Sequence
from tfmtl.spec.task_grid import TaskGrid
from tfmtl.spec.tasks import Task

__all__ = ["Categorical", "Feature", "Numeric", "Schema", "Sequence", "Task", "TaskGrid"]

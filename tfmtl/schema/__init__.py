"""Descriptions of features and tasks."""

from tfmtl.schema.categorical import Categorical
from tfmtl.schema.features import Feature
from tfmtl.schema.numeric import Numeric
from tfmtl.schema.schema import Schema
from tfmtl.schema.sequence import Sequence
from tfmtl.schema.target_rates import TargetRates
from tfmtl.schema.task_grid import TaskGrid
from tfmtl.schema.tasks import Task

__all__ = ["Categorical", "Feature", "Numeric", "Schema", "Sequence", "TargetRates", "Task", "TaskGrid"]

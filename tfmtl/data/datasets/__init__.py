"""Public data sets, and one whose truth is known, as a schema and the rows to train, choose and test on."""

from tfmtl.data.datasets.kuairand import kuairand
from tfmtl.data.datasets.short_video import short_video
from tfmtl.data.datasets.split import Split

__all__ = ["Split", "kuairand", "short_video"]

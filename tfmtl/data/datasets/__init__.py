"""Public data sets, and one whose truth is known, as a schema and the rows to train, choose and test on."""

from tfmtl.data.datasets.census_income import census_income
from tfmtl.data.datasets.kuairand import kuairand
from tfmtl.data.datasets.movielens import movielens
from tfmtl.data.datasets.short_video import short_video
from tfmtl.data.datasets.split import Split
from tfmtl.data.datasets.taobao import taobao

__all__ = ["Split", "census_income", "kuairand", "movielens", "short_video", "taobao"]

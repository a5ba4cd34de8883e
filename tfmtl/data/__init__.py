"""From files to what a model reads."""

from tfmtl.data.adapting import adapt, extend
from tfmtl.data.csv_format import CsvFormat
from tfmtl.data.datasets import Split, census_income, kuairand, movielens, short_video, taobao
from tfmtl.data.event_log import add_histories
from tfmtl.data.infer_schema import infer_schema
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read

__all__ = [
    "CsvFormat",
    "Preprocessor",
    "Split",
    "adapt",
    "add_histories",
    "census_income",
    "extend",
    "infer_schema",
    "kuairand",
    "movielens",
    "read",
    "short_video",
    "taobao",
]

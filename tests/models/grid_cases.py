"""A grid of three behaviours and three groups, a schema and rows for it."""

import numpy as np
import tensorflow as tf

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.schema import Categorical, Numeric, Schema, Task, TaskGrid

GRID = TaskGrid(
    [Task("complete", "regression"), Task("finish"), Task("skip")], {"new": "n", "low": "l", "high": "h"}, "segment"
)
TOWERS = {"new": (3,), "low": (5,), "high": (6, 4)}
SMALL = {"root_units": (9,), "facet_units": (8, 7), "leaf_units": 6, "tower_units": TOWERS}
SEGMENT = Categorical("segment", vocabulary=("x", "h", "n", "l"), dim=4)
SCHEMA = Schema([Numeric("age", transform=None), Categorical("city", num_ids=5, dim=4), SEGMENT], GRID.tasks)
RAW = {
    "age": np.array([1, np.nan, 3, 4, 5, 6], "float32"),
    "city": np.array([0, 1, 4, 3, -1, 9], "int64"),
    "segment": np.array(["n", "l", "h", "n", "x", ""]),
}
GROUPS_OF_ROWS = ("new", "low", "high", "new", None, None)


def encoded_rows():
    return Preprocessor(SCHEMA.features)({name: tf.constant(column) for name, column in RAW.items()})

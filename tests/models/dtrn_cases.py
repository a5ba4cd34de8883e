"""A schema with two histories, rows and labels for it."""

import numpy as np

from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

ITEM = Categorical("item", num_ids=7, dim=4, table="items")
KIND = Categorical("kind", num_ids=2, dim=2)
SCHEMA = Schema(
    [
        ITEM,
        Categorical("city", num_ids=5, dim=4),
        Numeric("age", transform=None),
        Sequence("view", (ITEM, KIND), length=3),
        Sequence("bought", (ITEM,), length=2),
    ],
    [Task("click"), Task("buy")],
)
ROWS = {
    "item": np.array([2, 7, 0, 1], "int32"),
    "city": np.array([0, 1, 2, 5], "int32"),
    "age": np.array([1.0, np.nan, 0.0, 2.0], "float32"),
    "view_item": np.array([[2, 7, 0], [1, 1, 1], [0, 0, 0], [3, 0, 0]], "int32"),
    "view_kind": np.array([[1, 2, 0], [1, 0, 2], [0, 0, 0], [1, 0, 0]], "int32"),
    "view_mask": np.array([[1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]], bool),
    "bought_item": np.array([[2, 7], [1, 0], [0, 0], [0, 0]], "int32"),
    "bought_mask": np.array([[1, 1], [1, 0], [0, 0], [0, 0]], bool),
}
LABELS = {"click": np.array([1.0, 0, 1, 0]), "buy": np.array([0.0, 0, 1, 0])}

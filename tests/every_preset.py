"""One small model of every preset, over features of every kind, and rows for it."""

import inspect

import numpy as np

from tfmtl import models
from tfmtl.models import presets
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task, TaskGrid

ITEM = Categorical("item", num_ids=6, dim=4, table="item")
FEATURES = [
    ITEM,
    Categorical("city", vocabulary=("a", "b"), dim=4),
    Numeric("age", transform=None, dim=3),
    Sequence("seen", [ITEM, Categorical("kind", num_ids=3, dim=4)], length=3),
]
SCHEMA = Schema(FEATURES, [Task("click", mean=0.5), Task("buy", mean=0.5)])
GRID = TaskGrid([Task("complete", mean=0.5), Task("skip", mean=0.5)], {"new": "a", "low": "b"}, "city")
GRID_SCHEMA = Schema(FEATURES, GRID.tasks)
PRESETS = [name for name in presets.__all__ if callable(getattr(models, name))]
OPTIONS = {"units": (4, 4), "tower_units": (4,), "tower_batch_norm": True, "tower_dropout": 0.1, "dim": 4}
CHOSEN = {
    "donors": {"buy": ["click"]},
    "domain": ["city"],
    "priors": ["item", "age"],
    "scenario": "city",
    "groups": {"look": ["click"], "act": ["buy"]},
    "domain_units": 4,
}
ROWS = {
    "item": np.array([0, 1, 2, 3, 4, 5, 6, 0], "int32"),
    "city": np.array([0, 1, 2, 0, 1, 2, 0, 1], "int32"),
    "age": np.linspace(-1, 1, 8, dtype="float32"),
    "seen_item": np.arange(24, dtype="int32").reshape(8, 3) % 7,
    "seen_kind": np.arange(24, dtype="int32").reshape(8, 3) % 4,
    "seen_mask": np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]] * 2, "int32"),
}


def small(preset):
    """A model of the preset, and its schema."""
    make = getattr(models, preset)
    if preset == "mfh":
        return make(GRID_SCHEMA, GRID), GRID_SCHEMA
    known = inspect.signature(make).parameters
    options = {name: value for name, value in OPTIONS.items() if name in known}
    options |= {name: value for name, value in CHOSEN.items() if name in known}
    return make(SCHEMA, **options), SCHEMA


def labels(schema):
    return {task: np.array([0, 1, 1, 0, 1, 0, 0, 1], "float32") for task in schema.task_names}

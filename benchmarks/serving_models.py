"""The models whose requests `serving.py` times, and rows for them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import tfmtl
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.keras_host import keras

TASKS = [tfmtl.Task("click"), tfmtl.Task("buy")]


@dataclass(frozen=True)
class Workload:
    """A model and what its name stands for in the report."""

    title: str
    schema: tfmtl.Schema
    build: Callable[[tfmtl.Schema], keras.Model]

    @property
    def user_columns(self) -> set[str]:
        return {column for feature in self.schema.features if feature.side == "user" for column in feature.columns}

    def rows(self, count: int) -> dict[str, np.ndarray]:
        """Raw columns of `count` rows, their histories full."""
        random = np.random.default_rng(0)
        found: dict[str, np.ndarray] = {}
        for feature in self.schema.features:
            if isinstance(feature, tfmtl.Numeric):
                found[feature.name] = random.normal(size=count).astype(np.float32)
            elif isinstance(feature, tfmtl.Categorical):
                found[feature.name] = _ids(random, feature, (count,))
            else:
                shape = (count, feature.length)
                found |= {feature.column(field): _ids(random, field, shape) for field in feature.fields}
        return {name: found[name] for name in Preprocessor(self.schema.features).raw_signature}


def workloads() -> dict[str, Workload]:
    """By letter."""
    return {
        "a": Workload(
            "PLE, 12 experts of 256 in 2 levels, half of the columns the candidate's, ids", _small(), _ple_wide
        ),
        "b": Workload("PLE, 6 experts, two pooled histories of 100 events x 3 fields, strings", _histories(), _ple),
        "c": Workload("DTRN, the same columns, the histories read by its transformer", _histories(), _dtrn),
    }


def _ple_wide(schema: tfmtl.Schema) -> keras.Model:
    """Of the training benchmark's size."""
    return tfmtl.models.ple(schema, units=(256, 256), num_task_experts=4, num_shared_experts=4, tower_units=(64,))


def _ple(schema: tfmtl.Schema) -> keras.Model:
    return tfmtl.models.ple(schema, units=(128, 64), num_task_experts=2, num_shared_experts=2, tower_units=(64,))


def _dtrn(schema: tfmtl.Schema) -> keras.Model:
    return tfmtl.models.dtrn(schema, target="item")


def _small() -> tfmtl.Schema:
    """20 categorical columns, 10 numbers and a history of 20 items; user and candidate own every second column."""
    sides = ("user", "item")
    ids = [
        tfmtl.Categorical(
            f"c{index}", num_ids=20_000, dim=16, side=sides[index % 2], table="items" if index == 1 else None
        )
        for index in range(20)
    ]
    numbers = [tfmtl.Numeric(f"n{index}", transform=None, side=sides[index % 2]) for index in range(10)]
    event = tfmtl.Categorical("item", num_ids=20_000, dim=16, table="items")
    return tfmtl.Schema([*ids, *numbers, tfmtl.Sequence("seen", (event,), length=20, side="user")], TASKS)


def _histories() -> tfmtl.Schema:
    """60 columns and 2 histories of the user, 10 columns of the candidate, all ids as strings that are looked up."""
    sizes = {"item": 20_000, "shop": 2_000, "category": 200}
    fields = [_strings(name, size, table=f"{name}s") for name, size in sizes.items()]
    features: list[tfmtl.schema.Feature] = [_strings(f"u{i}", 500, side="user") for i in range(50)]
    features += [tfmtl.Numeric(f"a{i}", transform=None, side="user") for i in range(10)]
    features += [_strings(name, size, table=f"{name}s", side="item") for name, size in sizes.items()]
    features += [_strings(f"i{i}", 500, side="item") for i in range(4)]
    features += [tfmtl.Numeric(f"p{i}", transform=None, side="item") for i in range(3)]
    features += [tfmtl.Sequence(name, tuple(fields), length=100, side="user") for name in ("clicked", "bought")]
    return tfmtl.Schema(features, TASKS)


def _strings(name: str, size: int, **options: str) -> tfmtl.Categorical:
    return tfmtl.Categorical(name, vocabulary=tuple(f"{name}-{i}" for i in range(size)), dim=16, **options)


def _ids(random: np.random.Generator, field: tfmtl.Categorical, shape: tuple[int, ...]) -> np.ndarray:
    if field.vocabulary:
        return np.array(field.vocabulary, object)[random.integers(0, len(field.vocabulary), shape)]
    return random.integers(0, field.num_ids, shape)

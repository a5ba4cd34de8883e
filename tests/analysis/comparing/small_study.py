"""Two tasks on two numbers, a model of plain Keras for any of them, and rows as `read` takes them."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import keras
from tfmtl.schema import Numeric, Schema, Task

TASKS = [Task("sale", sample_space="click", mean=0.5), Task("click", mean=0.5)]
SCHEMA = Schema([Numeric("a", transform=None), Numeric("b", transform=None)], TASKS)
SMALL: dict[str, Any] = {"epochs": 2, "batch_size": 64, "learning_rates": (0.03,), "verbose": False}


def table(rows: int, seed: int) -> dict[str, np.ndarray]:
    """Raw columns; a sale is defined where there was a click."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows)).astype("float32")
    click = (a + b + rng.logistic(size=rows) > 0).astype("float32")
    sale = (a - b + rng.logistic(size=rows) > 0).astype("float32")
    users = np.array([f"u{user}" if user else "" for user in rng.integers(0, 30, rows)])
    return {"a": a, "b": b, "click": click, "sale": sale, "user": users}


PARTS = (table(200, 1), table(150, 2), table(170, 3))
"""To train on, to choose with, to report on."""


def batches(columns: dict[str, np.ndarray], *, size: int = 32, **more: Any) -> tf.data.Dataset:
    """The rows as encoded batches `(x, y)`."""
    sale = np.where(columns["click"] > 0, columns["sale"], np.nan).astype("float32")
    y = {"click": columns["click"], "sale": sale}
    return tf.data.Dataset.from_tensor_slices(
        ({name: columns[name] for name in ("a", "b", "user")}, y, *more.values())
    ).batch(size)


def plain(schema: Schema, units: int = 4, activation: Any = "tanh") -> keras.Model:
    """A model that tfmtl knows nothing of."""
    inputs = {name: keras.Input((), name=name) for name in ("a", "b")}
    x = keras.layers.Concatenate()([keras.layers.Reshape((1,))(column) for column in inputs.values()])
    x = keras.layers.Dense(units, activation)(x)
    links = {task.name: "sigmoid" if task.kind == "binary" else None for task in schema.tasks}
    return keras.Model(inputs, {name: keras.layers.Dense(1, link, name=name)(x) for name, link in links.items()})


def wide(schema: Schema) -> keras.Model:
    return plain(schema, units=8)

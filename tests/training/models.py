"""A small model of three tasks and rows for it, as plain Keras as can be."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import keras, ops
from tfmtl.schema import Categorical, Numeric, Schema, Task

# Neither alphabetical nor in the order of the columns: what is routed by position goes wrong.
TASKS = (Task("sale"), Task("click", weight=0.5), Task("price", "regression", weight=0.1))
SCHEMA = Schema([Numeric("b"), Numeric("a"), Categorical("user", num_ids=20, dim=2)], TASKS)


def small_model(tasks: tuple[Task, ...] = TASKS, adds_loss: bool = False) -> keras.Model:
    """An embedding, two numbers, one hidden layer, and an output layer for each task."""
    inputs = {name: keras.Input((), name=name) for name in ("b", "a")}
    user = keras.Input((), dtype="int32", name="user")
    columns = [keras.layers.Reshape((1,))(x) for x in inputs.values()]
    x = keras.layers.Concatenate()([*columns, keras.layers.Embedding(21, 2)(user)])
    x = keras.layers.Dense(8, activation="tanh")(x)
    x = AddedLoss(0.1)(x) if adds_loss else x
    links = {task.name: "sigmoid" if task.kind == "binary" else None for task in tasks}
    outputs = {name: keras.layers.Dense(1, link, dtype="float32", name=name)(x) for name, link in links.items()}
    return keras.Model({**inputs, "user": user}, outputs)


class AddedLoss(keras.layers.Layer):
    """Adds the mean square of what it passes on to the loss: a mean over rows, which Keras makes of no regularizer before 3.14."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def call(self, x: Any) -> Any:
        self.add_loss(self.factor * ops.mean(ops.square(x)))
        return x


def rows(count: int, missing: float = 0.4, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """`(x, y)` with labels that can be learned and, for two tasks, a share of them missing."""
    rng = np.random.default_rng(seed)
    x = {name: rng.normal(size=count).astype("float32") for name in ("a", "b")}
    x["user"] = rng.integers(0, 21, count).astype("int32")
    noise = rng.normal(size=(2, count))
    y = {
        "click": (x["a"] + noise[0] > 0).astype("float32"),
        "sale": (x["b"] - x["a"] + noise[1] > 1).astype("float32"),
        "price": (3 * x["a"] + 1).astype("float32"),
    }
    for name in ("sale", "price"):
        y[name][rng.random(count) < missing] = np.nan
    return x, y


def batches(x: dict[str, Any], y: dict[str, Any], size: int) -> tf.data.Dataset:
    """The rows in order, the last batch as short as it comes."""
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(size)

"""A small healthy model with its data, and ways to make either ill."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import keras
from tfmtl.models import ple
from tfmtl.schema import Categorical, Numeric, Schema, Task
from tfmtl.training import objectives

TASKS = (Task("click"), Task("buy"), Task("spend", "regression"))
FEATURES = (
    Categorical("user", num_ids=40, dim=4),
    Categorical("item", num_ids=40, dim=4),
    Categorical("slot", num_ids=4, dim=4),  # of which no label knows
    Numeric("price", transform=None, flag_missing=False),
    Numeric("age", transform=None, flag_missing=False),
)
SCHEMA = Schema(FEATURES, TASKS)
Columns = dict[str, np.ndarray]


@dataclass
class Data:
    """Encoded columns and labels."""

    x: Columns
    y: Columns

    def batches(self, size: int = 512) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((self.x, self.y)).batch(size, drop_remainder=True)

    def rows(self, chosen: np.ndarray) -> "Data":
        """Some of the rows."""
        return Data(*({name: column[chosen] for name, column in part.items()} for part in (self.x, self.y)))

    def changed(self, *, x: Columns | None = None, y: Columns | None = None) -> "Data":
        """A copy with some columns or labels changed."""
        return replace(self, x={**self.x, **(x or {})}, y={**self.y, **(y or {})})


def made(rows: int, seed: int) -> Data:
    """Rows of which a model can explain some: each task goes by something of its own, and all by the item."""
    of_all, own = np.random.default_rng(99), np.random.default_rng(seed)
    appeal, taste = of_all.normal(size=41), of_all.normal(size=(2, 41))
    x = {
        "user": own.integers(1, 41, rows).astype("int32"),
        "item": own.integers(1, 41, rows).astype("int32"),
        "slot": own.integers(1, 5, rows).astype("int32"),
        "price": own.normal(size=rows).astype("float32"),
        "age": own.normal(size=rows).astype("float32"),
    }
    click = appeal[x["item"]] + taste[0][x["user"]] - x["price"]
    buy = 0.5 * appeal[x["item"]] + taste[1][x["user"]] + 0.7 * x["age"] - 0.8
    y = {
        "click": (own.random(rows) < 1 / (1 + np.exp(-click))).astype("float32"),
        "buy": (own.random(rows) < 1 / (1 + np.exp(-buy))).astype("float32"),
        "spend": (0.5 * appeal[x["item"]] + 0.5 * x["age"] + 0.5 * own.normal(size=rows)).astype("float32"),
    }
    return Data(x, y)


def new_model() -> keras.Model:
    """A model, compiled and not trained."""
    model = ple(
        SCHEMA,
        units=(8,),
        num_task_experts=1,
        num_shared_experts=2,
        gate_use_bias=True,
        tower_units=(),
        base_rates={},
    )
    return compiled(model, keras.optimizers.Adam(0.01))


def compiled(model: keras.Model, optimizer: Any, tasks: tuple[Task, ...] = TASKS) -> keras.Model:
    """The model with a loss for each of `tasks`, and no metrics, which take time to trace."""
    model.compile(optimizer, **objectives(tasks, metrics={task.name: [] for task in tasks}))
    return model


class Held(keras.callbacks.Callback):
    """Keeps something as it is while the rest of the model trains."""

    def __init__(self, plant: Any):
        super().__init__()
        self.plant = plant

    def on_train_begin(self, logs: Any = None) -> None:
        self.plant(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.plant(self.model)


def fitted(model: keras.Model, data: Data, epochs: int, plant: Any = None) -> dict[str, Any]:
    """Trains, while `plant` holds; returns the history."""
    callbacks = [] if plant is None else [Held(plant)]
    batches = data.batches(256).shuffle(32, seed=1, reshuffle_each_iteration=True)
    return model.fit(batches, epochs=epochs, verbose=0, callbacks=callbacks).history

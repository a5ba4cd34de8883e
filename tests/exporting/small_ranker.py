"""A small model with every kind of feature, and rows for it."""

import numpy as np
import tensorflow as tf

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.keras_host import keras, ops
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

CITIES = ("Oslo", "Rome", "Łódź")
SCHEMA = Schema(
    [
        Categorical("city", vocabulary=CITIES, dim=4, side="user"),
        Categorical("device", hash_buckets=7, dim=4, side="context"),
        Categorical("item", num_ids=20, dim=4, table="items", side="item"),
        Numeric("age", transform="buckets", boundaries=(20.0, 40.0, 60.0), dim=4, side="user"),
        Numeric("price", mean=(10.0,), std=(4.0,), side="item"),
        Numeric("style", size=3, transform=None, side="item"),
        Sequence(
            "seen",
            (Categorical("item", num_ids=20, dim=4, table="items"), Categorical("city", vocabulary=CITIES, dim=4)),
            length=5,
            side="user",
        ),
    ],
    [Task("click"), Task("buy"), Task("watch", "regression")],
)


def small_model(schema=SCHEMA, units=8):
    """A plain Keras model from encoded columns to the schema's tasks; each task has a layer and a table of its own."""
    encoded = Preprocessor(schema.features).encoded_signature
    inputs = {
        name: keras.Input(tuple(spec.shape)[1:], dtype=spec.dtype.name, name=name) for name, spec in encoded.items()
    }
    items = keras.layers.Embedding(21, 4, name="item_table")
    events = items(inputs["seen_item"]) + keras.layers.Embedding(4, 4, name="history_city")(inputs["seen_city"])
    user = [
        keras.layers.Embedding(4, 4, name="city_table")(inputs["city"]),
        keras.layers.Embedding(5, 4, name="age_table")(inputs["age"]),
        keras.layers.GRU(4, name="history")(events, mask=inputs["seen_mask"] > 0),
    ]
    numbers = keras.layers.Concatenate()([keras.layers.Reshape((1,))(inputs["price"]), inputs["style"]])
    rest = [
        items(inputs["item"]),
        keras.layers.Embedding(8, 4, name="device_table")(inputs["device"]),
        WithoutNaN()(numbers),
    ]
    x = keras.layers.Concatenate(name="all")(user + rest)
    outputs = {}
    for task in schema.tasks:
        own = keras.layers.Embedding(21, 6, name=f"{task.name}_items")(inputs["item"])
        hidden = keras.layers.Dense(units, "relu", name=f"{task.name}_hidden")(keras.layers.Concatenate()([x, own]))
        activation = "sigmoid" if task.kind == "binary" else None
        outputs[task.name] = keras.layers.Dense(1, activation, dtype="float32", name=task.name)(hidden)
    return keras.Model(inputs, outputs)


class WithoutNaN(keras.layers.Layer):
    """NaN becomes 0."""

    def call(self, x):
        return ops.where(ops.isnan(x), ops.zeros_like(x), x)

    def compute_output_shape(self, shape):
        return shape


def random_rows(count, seed=0):
    """Raw columns; many values are missing or unknown, histories are of any length from 0 to 8."""
    rng = np.random.default_rng(seed)

    def broken():
        return rng.random(count) < 0.1

    events = rng.integers(0, 9, (count, 1)) > np.arange(8)
    return {
        "city": np.where(broken(), "nowhere", rng.choice([*CITIES, ""], count)).astype(object),
        "device": rng.choice(["phone", "tv", "tablet"], count).astype(object),
        "item": np.where(broken(), rng.choice([-1, 20, 2**40], count), rng.integers(0, 20, count)),
        "age": np.where(broken(), np.nan, rng.normal(40, 20, count)).astype("float32"),
        "price": np.where(broken(), np.nan, rng.gamma(2, 5, count)).astype("float32"),
        "style": rng.normal(size=(count, 3)).astype("float32"),
        "seen_item": np.where(events, rng.integers(0, 22, (count, 8)), -1),
        "seen_city": np.where(events, rng.choice([*CITIES, "nowhere"], (count, 8)), "").astype(object),
    }


def as_tensors(rows):
    """`rows` with exactly the types that the raw signature has."""
    specs = Preprocessor(SCHEMA.features).raw_signature
    return {name: tf.constant(column, specs[name].dtype) for name, column in rows.items()}

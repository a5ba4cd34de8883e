"""A model of `build` refuses rows that were not encoded, whichever way they come, and takes those that were."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import run_fresh

import tfmtl
from tfmtl import Categorical, Numeric, Schema, Sequence, Task
from tfmtl.keras_host import keras

rng = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "user": rng.integers(5000, 5040, 96),  # as in issue reports: ids that start far above the table's rows
        "age": rng.normal(size=96).astype("float32"),
        "seen_film": [list(rng.choice(["a", "b"], 2)) for _ in range(96)],
        "click": rng.integers(0, 2, 96),
        "buy": rng.integers(0, 2, 96),
    }
)
SCHEMA = Schema(
    [
        Categorical("user", vocabulary="adapt", dtype="int64", dim=4),
        Numeric("age", transform="buckets", dim=4),
        Sequence("seen", [Categorical("film", vocabulary=("a", "b"), dim=4)], length=2),
    ],
    [Task("click"), Task("buy")],
)
Y = {task: TABLE[task].to_numpy("float32") for task in ("click", "buy")}
SENTENCE = r"(?s)reads \['age', 'user'\] as row numbers, int32.*encode=True.*'user': 'int64'"


@pytest.fixture(scope="module")
def schema():
    return tfmtl.adapt(SCHEMA, tfmtl.read(TABLE, SCHEMA, batch_size=32))


@pytest.fixture(scope="module")
def model(schema):
    made = tfmtl.models.shared_bottom(schema, units=(4,), tower_units=())
    made.compile("sgd", **tfmtl.objectives(schema.tasks))
    return made


def columns(schema):
    """Raw columns as a caller has them, with the mask that nothing but a preprocessor would make."""
    encoded = tfmtl.Preprocessor(schema.features)(next(iter(tfmtl.read(TABLE, schema, batch_size=96)))[0])
    return {name: values.numpy() for name, values in encoded.items()} | {"user": TABLE.user, "age": TABLE.age}


def test_every_way_in_refuses_raw_ids(model, schema):
    series = columns(schema)
    arrays = {name: np.asarray(values) for name, values in series.items()}
    data = tf.data.Dataset.from_tensor_slices((arrays, Y)).batch(32)
    ways = [
        lambda: model.fit(data, verbose=0),
        lambda: model.fit(arrays, Y, verbose=0),
        lambda: model.evaluate(data, verbose=0),
        lambda: model.predict(data, verbose=0),
        lambda: model.predict(arrays, verbose=0),
        lambda: model.predict_on_batch(arrays),
        lambda: model(arrays),
        lambda: model(series),
        lambda: model([arrays[column.name] for column in model.inputs]),
        lambda: tfmtl.evaluate(model, data, schema),
    ]
    for way in ways:
        with pytest.raises(ValueError, match=SENTENCE):
            way()


def test_what_was_refused_leaves_nothing_behind(model, schema):
    encoded = tfmtl.read(TABLE, schema, batch_size=32, encode=True)
    data = tf.data.Dataset.from_tensor_slices((columns(schema), Y)).batch(32)
    for way in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match=SENTENCE):
            way(data, verbose=0)
        way(encoded, verbose=0)
    assert tfmtl.evaluate(model, encoded, schema)["click_rows"] == 96


def test_a_file_keeps_the_guard(model, schema, tmp_path):
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=SENTENCE):
        keras.models.load_model(tmp_path / "model.keras").predict(columns(schema), verbose=0)


def test_text_is_refused_in_the_same_words():
    schema = Schema([Categorical("city", vocabulary=("Oslo", "Rome"), dim=4)], [Task("click")])
    model = tfmtl.models.single_task(schema, units=(4,), tower_units=())
    with pytest.raises(ValueError, match=r"(?s)\['city'\] as row numbers.*'city': 'string'"):
        model.predict(tf.data.Dataset.from_tensors({"city": ["Oslo", "Rome"]}), verbose=0)


def test_row_numbers_of_another_pipeline_are_taken_as_int32(model, schema):
    own = {name: np.asarray(values) for name, values in columns(schema).items()}
    own |= {"user": np.arange(96) % 41, "age": np.arange(96) % 8}
    with pytest.raises(ValueError, match="must be cast to int32"):
        model.predict(own, verbose=0)
    cast = own | {name: own[name].astype("int32") for name in ("user", "age")}
    assert model.predict(cast, verbose=0)["click"].shape == (96, 1)
    assert model(cast | {"seen_mask": own["seen_mask"] > 0})["buy"].shape == (96, 1)  # a mask may be boolean


def test_rows_are_not_encoded_twice(schema):
    encoded = tfmtl.read(TABLE, schema, batch_size=32, encode=True)
    with pytest.raises(ValueError, match=r"'user' must be int64. Received: int32 .int32 is what encoded ids are"):
        encoded.map(tfmtl.Preprocessor(schema.features))


def test_replicas_refuse_them_too():
    printed = run_fresh(
        """
        import tensorflow as tf

        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
        import tfmtl
        from tfmtl import Categorical, Schema, Task

        table = {"user": list(range(5000, 5032)), "click": [0, 1] * 16}
        schema = Schema([Categorical("user", vocabulary="adapt", dtype="int64", dim=4)], [Task("click")])
        schema = tfmtl.adapt(schema, tfmtl.read(table, schema, batch_size=8))
        with tfmtl.strategy("mirrored", devices=["CPU:0", "CPU:1"]).scope():
            model = tfmtl.models.single_task(schema, units=(4,), tower_units=())
            model.compile("sgd", **tfmtl.objectives(schema.tasks))
        for way in (model.fit, model.evaluate):
            try:
                way(tfmtl.read(table, schema, batch_size=8), verbose=0)
            except ValueError as error:
                print("as row numbers, int32" in str(error))
            way(tfmtl.read(table, schema, batch_size=8, encode=True), verbose=0)
        """
    )
    assert printed.split() == ["True", "True"]

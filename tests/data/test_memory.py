"""A table that was read is freed with the last dataset of it, a lookup with what encodes by it, and neither before."""

import gc
import weakref

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from tfmtl.data.generated import generated
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read
from tfmtl.schema import Categorical, Numeric, Schema, Task

as_it_is = tf.autograph.experimental.do_not_convert  # AutoGraph holds what it has converted
SCHEMA = Schema([Numeric("x", transform=None)], [Task("click")])
USES = {
    "unread": lambda dataset: None,
    "one batch": lambda dataset: next(iter(dataset)),
    "all": lambda dataset: [None for _ in dataset],
    "mapped and cached": lambda dataset: list(dataset.map(Preprocessor(SCHEMA.features)).cache().prefetch(1)),
}


def table():
    """Twenty rows, and what tells whether their memory is still held."""
    numbers = np.arange(20, dtype="float32")
    return pa.table({"x": pa.array(numbers), "click": np.zeros(20)}), weakref.ref(numbers)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_table_is_freed_with_its_dataset(use, shuffle):
    rows, memory = table()
    dataset = read(rows, SCHEMA, batch_size=5, shuffle=shuffle, seed=0)
    del rows
    use(dataset)
    gc.collect()
    assert memory() is not None, "the check cannot fail"
    del dataset
    gc.collect()
    assert memory() is None


@pytest.mark.parametrize(
    "made_of",
    [
        lambda dataset: dataset.batch(3).prefetch(1),
        lambda dataset: tf.data.Dataset.range(1).flat_map(as_it_is(lambda _: dataset)),
        lambda dataset: tf.data.Dataset.sample_from_datasets([dataset]),
        lambda dataset: tf.distribute.OneDeviceStrategy("cpu:0").experimental_distribute_dataset(dataset),
        iter,
    ],
    ids=["chained", "captured", "sampled", "distributed", "iterated"],
)
def test_what_is_made_of_a_dataset_holds_its_rows(made_of):
    def numbers():
        yield from range(6)

    made = made_of(generated(numbers, tf.TensorSpec((), tf.int64)))
    memory = weakref.ref(numbers)
    del numbers
    gc.collect()
    assert np.concatenate([np.reshape(rows, -1) for rows in made]).tolist() == list(range(6))
    del made
    gc.collect()
    assert memory() is None


VOCABULARY = Categorical("city", vocabulary=("Rome", "Lima"))


@pytest.mark.parametrize(
    "hold",
    [
        lambda encoder, rows: rows.map(encoder),
        lambda encoder, rows: rows.map(as_it_is(lambda x: encoder(x))),
        lambda encoder, rows: tf.data.Dataset.range(1).flat_map(as_it_is(lambda _: rows.map(encoder))),
        lambda encoder, rows: iter(rows.map(encoder)),
    ],
    ids=["mapped", "within a function", "captured", "iterated"],
)
def test_a_lookup_is_there_as_long_as_something_encodes(hold):
    rows = tf.data.Dataset.from_tensors({"city": tf.constant(["Lima", "Oslo", "Rome"])})
    encoder = Preprocessor([VOCABULARY])
    handle = encoder.tables["city"].table.resource_handle
    held = hold(encoder, rows)
    del encoder
    gc.collect()
    assert [encoded["city"].numpy().tolist() for encoded in held] == [[2, 0, 1]]
    assert tf.raw_ops.LookupTableSizeV2(table_handle=handle).numpy() == 2
    del held
    gc.collect()
    with pytest.raises(tf.errors.OpError):
        tf.raw_ops.LookupTableSizeV2(table_handle=handle)


def test_signatures_of_an_export_outlive_what_loaded_it(tmp_path):
    saved = tf.Module()
    saved.encoder = Preprocessor([VOCABULARY])
    encode = tf.function(saved.encoder, input_signature=[{"city": tf.TensorSpec((None,), tf.string, name="city")}])
    tf.saved_model.save(saved, tmp_path, signatures=encode)
    del saved, encode
    gc.collect()
    signature = tf.saved_model.load(tmp_path).signatures["serving_default"]
    gc.collect()
    assert signature(city=tf.constant(["Lima", "Oslo", "Rome"]))["city"].numpy().tolist() == [2, 0, 1]

"""Examples of any kind become rows; awkward rows are what they promise."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
from small_ranker import SCHEMA, random_rows

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting.awkward_rows import awkward_rows
from tfmtl.exporting.example_rows import rows_of, take, tensors

SIGNATURE = Preprocessor(SCHEMA.features).raw_signature
HISTORY = {"h": tf.TensorSpec((None, None), tf.string)}


def rows_equal(rows, other):
    assert set(rows) == set(other)
    for name, column in rows.items():
        np.testing.assert_array_equal(column, other[name])


def test_the_same_rows_from_arrays_and_datasets():
    given = random_rows(10)
    rows = rows_of(given, SIGNATURE, 100)
    assert rows["city"].dtype == object and all(isinstance(city, bytes) for city in rows["city"])
    dataset = tf.data.Dataset.from_tensor_slices(given).batch(4)
    rows_equal(rows_of(dataset, SIGNATURE, 100), rows)
    rows_equal(rows_of(dataset.map(lambda x: (x, {"click": tf.zeros(1)})), SIGNATURE, 100), rows)
    rows_equal(rows_of(dataset, SIGNATURE, 5), take(rows, slice(5)))


def test_no_more_batches_are_read_than_needed():
    read = []

    def generate():
        for number in range(100):
            read.append(number)
            yield {"x": np.full(4, number)}

    dataset = tf.data.Dataset.from_generator(generate, output_signature={"x": tf.TensorSpec((4,), tf.int64)})
    assert rows_of(dataset, {"x": tf.TensorSpec((None,), tf.int64)}, 6)["x"].tolist() == [0] * 4 + [1] * 2
    assert len(read) < 10


def test_a_data_frame_with_lists_and_nulls():
    frame = pd.DataFrame({"h": [["a", "b"], [], ["c"]], "s": ["x", None, "z"], "n": [1, 2, 3], "label": [0, 1, 0]})
    specs = HISTORY | {"s": tf.TensorSpec((None,), tf.string), "n": tf.TensorSpec((None,), tf.float32)}
    rows = rows_of(frame, specs, 10)
    assert rows["h"].tolist() == [[b"a", b"b"], [b"", b""], [b"c", b""]]
    assert rows["s"].tolist() == [b"x", b"", b"z"]
    assert rows["n"].dtype == np.float32 and "label" not in rows


MIXED = HISTORY | {
    "s": tf.TensorSpec((None,), tf.string),
    "i": tf.TensorSpec((None,), tf.int64),
    "n": tf.TensorSpec((None,), tf.float32),
    "v": tf.TensorSpec((None, 2), tf.float32),
}
TABLE = pa.table(
    {
        "h": [["a", None], None, ["c"]],
        "s": pa.array(["x", None, "z"]).dictionary_encode(),
        "i": [2**60 + 1, None, -3],
        "n": [True, None, False],
        "v": pa.array([[1.0, 2.0], [None, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
        "label": [0, 1, 0],
    }
)


class Stream:
    """Any library's table."""

    def __arrow_c_stream__(self, requested_schema=None):
        return TABLE.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "table",
    [TABLE, Stream(), TABLE.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}.get)],
    ids=["Arrow", "stream", "pandas"],
)
def test_tables_say_what_is_missing_in_their_own_ways(table):
    rows = rows_of(table, MIXED, 10)
    assert rows["h"].tolist() == [[b"a", b""], [b"", b""], [b"c", b""]]
    assert rows["s"].tolist() == [b"x", b"", b"z"]
    assert rows["i"].tolist() == [2**60 + 1, -1, -3] and rows["i"].dtype == np.int64
    np.testing.assert_array_equal(rows["n"], [1.0, np.nan, 0.0])
    np.testing.assert_array_equal(rows["v"], [[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0]])
    assert len(rows_of(table, MIXED, 2)["i"]) == 2


def test_what_a_table_holds_must_still_fit():
    with pytest.raises(
        ValueError, match=r"'i' of `examples` must be raw int64 values.*Received: float.*'Int64' does not"
    ):
        rows_of(pd.DataFrame({"i": [1, None]}), {"i": MIXED["i"]}, 10)
    with pytest.raises(ValueError, match=r"'s' of `examples` must be raw string"):
        rows_of(pa.table({"s": [1, 2]}), {"s": MIXED["s"]}, 10)
    with pytest.raises(ValueError, match=r"'s' of `examples` must hold values of one type"):
        rows_of(pd.DataFrame({"s": ["x", 1]}), {"s": MIXED["s"]}, 10)
    with pytest.raises(ValueError, match="no rows"):
        rows_of(TABLE.slice(0, 0), MIXED, 10)


@pytest.mark.parametrize(
    "column",
    [np.array([1, 2**63 + 5], np.uint64), pd.Series([1, 2**63 + 5], dtype="UInt64"), [1, 2**63 + 5]],
    ids=["NumPy", "pandas", "a list"],
)
def test_an_id_beyond_int64_is_not_wrapped(column):
    with pytest.raises(ValueError, match=r"'i' of `examples` must hold int64 values. Received: 9223372036854775813"):
        rows_of({"i": column}, {"i": MIXED["i"]}, 10)


@pytest.mark.parametrize("events", [[2**63 + 5], [1.5], ["a"]])
def test_a_history_that_does_not_fit_is_named(events):
    with pytest.raises(ValueError, match=r"'h' of `examples` must hold lists of raw int64 values. Received: "):
        rows_of({"h": [[1], events]}, {"h": tf.TensorSpec((None, None), tf.int64)}, 10)


def test_flags_are_numbers():
    assert rows_of({"n": np.array([True, False])}, {"n": MIXED["n"]}, 10)["n"].tolist() == [1.0, 0.0]


def test_ragged_batches_are_padded_to_the_longest():
    first, second = tf.ragged.constant([["a"], []], dtype=tf.string), tf.ragged.constant([["b", "c", "d"]])
    dataset = tf.data.Dataset.from_tensors({"h": first}).concatenate(tf.data.Dataset.from_tensors({"h": second}))
    assert rows_of(dataset, HISTORY, 10)["h"].tolist() == [[b"a", b"", b""], [b"", b"", b""], [b"b", b"c", b"d"]]


def test_awkward_rows_hold_what_they_promise():
    rows, one, no_history = awkward_rows(SCHEMA.features)
    assert len(one["city"]) == 1
    assert no_history["seen_item"].shape == (16, 0)
    assert {b"", b"Oslo", "Łódź".encode()} <= set(rows["city"])
    assert {-1, -7, 0, 19, 21, 2**63 - 1, -(2**63)} <= set(rows["item"].tolist())
    assert np.isnan(rows["age"]).any() and {20.0, 60.0} <= set(rows["age"].tolist())
    assert rows["style"].shape == (16, 3)
    events = (rows["seen_item"] != -1).sum(axis=1)
    assert events.min() == 0 and events.max() > 5 and 5 in events
    first = rows["seen_item"][:, 0] == -1
    assert (first & (events > 0)).any(), "padding on the left"
    encoded = Preprocessor(SCHEMA.features)(tensors(rows, SIGNATURE))
    assert {name: tuple(x.shape) for name, x in encoded.items()}["seen_item"] == (16, 5)


@pytest.mark.parametrize("count", [0, 3])
def test_tensors_have_exactly_the_signatures_types(count):
    given = tensors(take(rows_of(random_rows(5), SIGNATURE, 5), slice(count)), SIGNATURE)
    assert {name: x.dtype for name, x in given.items()} == {name: spec.dtype for name, spec in SIGNATURE.items()}

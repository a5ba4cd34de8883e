"""Histories: what is read and encoded for training is what a served request with the whole history is encoded to."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reading import write_parquet, write_tfrecord

from tfmtl.data.adapting import adapt
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read
from tfmtl.schema import Categorical, Schema, Sequence, Task

ITEM = Categorical("item", num_ids=5)
SCHEMA = Schema(
    [
        Sequence("one", (ITEM,), length=2),
        Sequence("two", (ITEM, Categorical("kind", vocabulary=("a", "b"))), length=3),
    ],
    [Task("click")],
)
FILLED = {"one": [1, 2, 3], "two": [(1, "a"), (2, "b"), (3, "b"), (-1, ""), (9, "x")]}
"""A row that tells every form of file its columns."""

item, kind = st.sampled_from([None, -1, -1, 0, 3, 9]), st.sampled_from([None, "", "", "a", "x"])
history = st.fixed_dictionaries(
    {
        "one": st.none() | st.lists(item, max_size=6),
        "two": st.none() | st.lists(st.tuples(item, kind), max_size=6),
    }
)


def table_of(rows, null):
    """The rows with lists; with nulls, or in their place what stands for a missing id."""

    def ids(values, missing):
        if values is None:
            return None if null else []
        return [value if null or value is not None else missing for value in values]

    two = [row["two"] for row in rows]
    items = [None if events is None else [event[0] for event in events] for events in two]
    kinds = [None if events is None else [event[1] for event in events] for events in two]
    return pa.table(
        {
            "one_item": pa.array([ids(row["one"], -1) for row in rows], pa.list_(pa.int64())),
            "two_item": pa.array([ids(values, -1) for values in items], pa.list_(pa.int64())),
            "two_kind": pa.array([ids(values, "") for values in kinds], pa.list_(pa.string())),
            "click": [1] * len(rows),
        }
    )


def padded_right(table):
    """The whole histories, as a request sends them."""
    columns = {name: table[name].to_pylist() for name in table.column_names if name != "click"}
    width = max(len(ids) for lists in columns.values() for ids in lists)
    missing = {"one_item": -1, "two_item": -1, "two_kind": ""}
    return {
        name: np.array([ids + [missing[name]] * (width - len(ids)) for ids in lists], object if "kind" in name else int)
        for name, lists in columns.items()
    }


@settings(max_examples=4, deadline=None)
@given(rows=st.lists(history, min_size=30, max_size=60))
def test_training_encodes_like_serving(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows")
    rows = [*rows, FILLED]
    table, dense = table_of(rows, null=True), table_of(rows, null=False)
    arrays = padded_right(dense)
    preprocessor = Preprocessor(SCHEMA.features)
    served = preprocessor(arrays)
    sources = {
        "table": table,
        "slice": table_of([FILLED, *rows], null=True).slice(1),
        "dict": arrays | {"click": [1] * len(rows)},
        "parquet": write_parquet(table, folder / "rows.parquet"),
        "tfrecord": write_tfrecord(dense, folder / "rows.tfrecord"),
    }
    for form, source in sources.items():
        x, _ = next(iter(read(source, SCHEMA, batch_size=len(rows))))
        for column, found in preprocessor(x).items():
            np.testing.assert_array_equal(found, served[column], err_msg=f"{form}: {column}")


@pytest.mark.parametrize("suffix", [".parquet", ".tfrecord"])
def test_a_history_padded_on_the_right_keeps_its_events(tmp_path, suffix):
    schema = Schema([Sequence("h", (Categorical("id", vocabulary="adapt", dtype="int64"),), length=3)], [Task("click")])
    table = pa.table({"h_id": [[5, 7, -1, -1, -1, -1], [1, 2, -1, 3, -1, -1]], "click": [1, 0]})
    path = (write_parquet if suffix == ".parquet" else write_tfrecord)(table, tmp_path / f"rows{suffix}")
    dataset = read(path, schema, batch_size=2)
    x, _ = next(iter(dataset))
    assert x["h_id"].numpy().tolist() == [[5, 7, -1], [1, 2, 3]]
    assert adapt(schema, dataset).feature("h").fields[0].vocabulary == (1, 2, 3, 5, 7)


def test_what_lies_under_a_missing_list_is_no_event():
    """Arrow lets a list that is null cover items."""
    hidden = pa.ListArray.from_arrays(
        pa.array([0, 1, 3, 4]), pa.array([4, 3, 2, 1]), mask=pa.array([False, True, False])
    )
    schema = Schema([Sequence("h", (ITEM, Categorical("kind", num_ids=9)), length=2)], [Task("click")])
    table = pa.table({"h_item": hidden, "h_kind": [[5], None, [-1]], "click": [1, 0, 1]})
    x, _ = next(iter(read(table, schema, batch_size=3)))
    assert x["h_item"].numpy().tolist() == [[4, -1], [-1, -1], [1, -1]]
    assert x["h_kind"].numpy().tolist() == [[5, -1], [-1, -1], [-1, -1]]


def test_a_slice_without_any_event_is_read():
    """Its lists hold no item that could tell a type."""
    table = pa.table({"one_item": [[], None], "two_item": [[], []], "two_kind": [[], [None]], "click": [1, 0]})
    table = table.set_column(1, "two_item", pa.array([[], [None]]))
    assert table.schema.field("two_kind").type == pa.list_(pa.null())
    for source in (table, table.to_pandas()):
        x, _ = next(iter(read(source, SCHEMA, batch_size=2)))
        assert x["two_item"].numpy().tolist() == [[-1] * 3] * 2
        assert x["two_kind"].dtype == tf.string


def test_ragged_columns_of_unequal_length_are_refused_in_every_row():
    """Padded to the longest they would look alike."""
    features = [Sequence("s", [Categorical("a", num_ids=9), Categorical("b", num_ids=9)], length=2)]
    raw = {"s_a": tf.ragged.constant([[1, 2], [3]], tf.int64), "s_b": tf.ragged.constant([[1], [3, 4]], tf.int64)}
    with pytest.raises(tf.errors.InvalidArgumentError, match="'s_a' and 's_b' are not"):
        Preprocessor(features)(raw)

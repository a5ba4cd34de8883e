"""Values that cannot be read: named, or left out, counted and told."""

import gzip
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
import tensorflow as tf

from tfmtl.data import CsvFormat, read
from tfmtl.schema import Categorical, Numeric, Schema, Task

SCHEMA = Schema(
    [
        Categorical("user", num_ids=9, dtype="int64"),
        Numeric("age", transform=None),
        Categorical("city", vocabulary=("a",)),
    ],
    [Task("click")],
)
CSV = "user,age,city,click\n1,1.5,a,0\nx7,2.5,NA,1\n3,old,,0\n4,5,a\n5,NA,a,7\n6,6.5,a,1\n"


def columns(dataset):
    found = {}
    for x, y in dataset:
        for name, values in {**x, **y}.items():
            found.setdefault(name, []).extend(values.numpy().tolist())
    return found


def assert_read(found):
    assert found["user"] == [1, -1, 3, 5, 6]
    np.testing.assert_array_equal(found["age"], np.array([1.5, 2.5, np.nan, np.nan, 6.5], "float32"))
    assert found["city"] == [b"a", b"NA", b"", b"a", b"a"]
    np.testing.assert_array_equal(found["click"], [0, 1, 0, np.nan, 1])


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv_leaves_out_what_it_cannot_read_and_says_how_much(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(gzip.compress(CSV.encode()) if suffix.endswith("gz") else CSV.encode())
    dataset = read(path, SCHEMA, batch_size=2, on_error="skip")
    for _ in range(2):  # each pass counts anew
        with pytest.warns(UserWarning, match=rf"^4 values or rows .* The first: {path}: ") as warned:
            assert_read(columns(dataset))
        assert len([each for each in warned if "left out" in str(each.message)]) == 1


def test_csv_of_another_form_too(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(CSV.replace(",", ";").replace(".", ",").replace("NA;a;7", "none;a;7"))
    form = CsvFormat(delimiter=";", decimal_point=",", missing=("none",))
    with pytest.warns(UserWarning, match="^4 values or rows"):
        assert_read(columns(read(path, SCHEMA, batch_size=5, csv=form, on_error="skip")))


def test_parquet_and_tables_take_what_does_not_fit_for_missing(tmp_path):
    table = pa.table(
        {
            "user": pa.array([1, 2**63, 3, 2**64 - 1, 5] * 50, pa.uint64()),
            "age": [1.0, 2.0, 3.0, 4.0, 5.0] * 50,
            "city": ["a"] * 250,
            "click": [0, 1, 2, 1, 0] * 50,
        }
    )
    pa_parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=60)
    for source in (table, tmp_path / "rows.parquet"):
        with pytest.warns(UserWarning, match=r"^150 values or rows .*(row 1: column 'user'|row 2: column click)"):
            found = columns(read(source, SCHEMA, batch_size=64, on_error="skip"))
        assert found["user"] == [1, -1, 3, -1, 5] * 50 and found["age"] == table["age"].to_pylist()
        np.testing.assert_array_equal(found["click"], [0, 1, np.nan, 1, 0] * 50)
        with pytest.raises(tf.errors.InvalidArgumentError, match="row 1: column 'user' must fit into int64"):
            columns(read(source, SCHEMA, batch_size=64))


def test_rows_that_can_all_be_read_are_as_ever(tmp_path, recwarn):
    path = tmp_path / "rows.csv"
    path.write_text("user,age,city,click\n1,true,a,0\n2,false,,1\n,NA,é,\n")
    with_skips, without = (columns(read(path, SCHEMA, batch_size=2, on_error=way)) for way in ("skip", "raise"))
    np.testing.assert_equal(with_skips, without)
    assert not [each for each in recwarn if "left out" in str(each.message)]


def test_refuses_records_and_other_ways(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "rows.tfrecord")) as writer:
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(ValueError, match="is for Parquet, CSV and tables"):
        read(tmp_path / "rows.tfrecord", SCHEMA, batch_size=2, on_error="skip")
    with pytest.raises(ValueError, match=r"`on_error` must be one of \('raise', 'skip'\). Received: on_error='drop'"):
        read({"user": [1]}, SCHEMA, batch_size=2, on_error="drop")


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_file_that_vanishes_in_an_epoch_is_named(tmp_path, form):
    rows = {"user": [1] * 20_000, "age": [1.0] * 20_000, "city": ["a"] * 20_000, "click": [0, 1] * 10_000}
    for part in range(10, 50):
        if form == "parquet":
            pa_parquet.write_table(pa.table(rows), tmp_path / f"{part}.parquet")
        else:
            (tmp_path / f"{part}.csv").write_text("user,age,city,click\n" + "1,1.0,a,1\n" * 20_000)
    batches = iter(read(tmp_path, SCHEMA, batch_size=64))
    next(batches)
    os.remove(tmp_path / f"49.{form}")
    with pytest.raises(tf.errors.OpError, match=f"49.{form}.*No such file"):
        list(batches)

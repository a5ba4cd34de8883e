"""Values that cannot be read: named, or left out, counted and told."""

import gzip
import os
import warnings
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
import tensorflow as tf

from tfmtl.data import CsvFormat, read
from tfmtl.losses import Tweedie
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

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
def test_a_file_that_vanishes_between_epochs_is_named(tmp_path, form):
    """Not within one: how far Arrow reads ahead of it is a matter of time."""
    rows = {"user": [1] * 4, "age": [1.0] * 4, "city": ["a"] * 4, "click": [0, 1] * 2}
    for part in range(47, 50):
        if form == "parquet":
            pa_parquet.write_table(pa.table(rows), tmp_path / f"{part}.parquet")
        else:
            (tmp_path / f"{part}.csv").write_text("user,age,city,click\n" + "1,1.0,a,1\n" * 4)
    batches = read(tmp_path, SCHEMA, batch_size=4)
    assert len(list(batches)) == 3
    os.remove(tmp_path / f"49.{form}")
    with pytest.raises(tf.errors.OpError, match=f"49.{form}.*No such file"):
        list(batches)


ID, NUM = Categorical("user", num_ids=9, dtype="int64"), Numeric("age", transform=None)
VECTOR = Numeric("age", size=2, transform=None)
TEXT = Numeric("age", size=2, separator="|", transform=None)
FIELDS = [Categorical("tag", num_ids=9), Categorical("year", num_ids=9)]
NAN, OVER = float("nan"), 2**63


def history(separator=None, fields=FIELDS[:1], **options):
    return Sequence("h", fields, prefix="", length=2, separator=separator, **options)


@pytest.mark.parametrize(
    ("feature", "rows", "bad", "expected"),
    [
        (ID, {"user": pa.array([OVER, 2], pa.uint64())}, 0, {"user": [-1, 2]}),
        (ID, {"user": pa.array([Decimal(OVER), Decimal(2)], pa.decimal128(38, 0))}, 0, {"user": [-1, 2]}),
        (history(), {"tag": pa.array([[1, OVER], [2]], pa.list_(pa.uint64()))}, 0, {"tag": [[-1, -1], [2, -1]]}),
        (VECTOR, {"age": [[1.0, 2.0], [3.0]]}, 1, {"age": [[1, 2], [NAN, NAN]]}),
        (VECTOR, {"age": [[1.0, 2.0, 4.0], [3.0, None]]}, 0, {"age": [[NAN, NAN], [3, NAN]]}),
        (TEXT, {"age": ["1|2", "3"]}, 1, {"age": [b"1|2", b""]}),
        (TEXT, {"age": ["1|x", "3|4"]}, 0, {"age": [b"", b"3|4"]}),
        (history(weights="w"), {"tag": [[1, 2], [3]], "w": [[5.0], [6.0]]}, 0, {"tag": [[1, 2], [3, -1]], "w": [[NAN, NAN], [6, NAN]]}),
        (history("|", weights="w"), {"tag": ["1|2", "3"], "w": ["5|6", "7|8"]}, 1, {"tag": [b"1|2", b"3"], "w": [b"5|6", b""]}),
        (history("|", weights="w"), {"tag": ["1|x", "3"], "w": ["5", "7"]}, 0, {"tag": [b"", b"3"], "w": [b"", b"7"]}),
        (history("|", weight_separator=":"), {"tag": ["1:5", "3:a"]}, 1, {"tag": [b"1:5", b""]}),
        (history(fields=FIELDS), {"tag": [[1, 2], [3]], "year": [[5], [6]]}, 0, {"tag": [[-1, -1], [3, -1]], "year": [[-1, -1], [6, -1]]}),
        (history("|", fields=FIELDS), {"tag": ["1", "3"], "year": ["5", "6|7"]}, 1, {"tag": [b"1", b""], "year": [b"5", b""]}),
    ],
)  # fmt: skip
def test_every_value_that_cannot_be_read_is_left_out(feature, rows, bad, expected, tmp_path):
    source = tmp_path / "rows.parquet"
    pa_parquet.write_table(pa.table({**rows, "click": [0, 1]}), source)
    schema = Schema([feature], [Task("click")])
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"row {bad}: column '({'|'.join(rows)})' must"):
        columns(read(source, schema, batch_size=2))
    with pytest.warns(UserWarning, match=rf"^1 values or rows .* row {bad}: column '({'|'.join(rows)})' must"):
        found = columns(read(source, schema, batch_size=2, on_error="skip"))
    np.testing.assert_equal(found, {**expected, "click": [0, 1]})


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        (Task("y"), [2, 1], [NAN, 1]),
        (Task("y", "multiclass", num_classes=2), [0, 1.5], [0, NAN]),
        (Task("y", "multiclass", classes=("a", "b")), ["b", "c"], [1, NAN]),
        (Task("y", "regression"), [float("inf"), 1.0], [NAN, 1]),
        (Task("y", "regression"), [1.0, 1e300], [1, NAN]),
        (Task("y", "regression", loss=Tweedie()), [-1.0, 3.0], [NAN, 3]),
    ],
)
def test_every_label_that_a_task_cannot_have_is_left_out(task, labels, expected):
    rows, schema = {"user": [1, 2], "y": labels}, Schema([ID], [task])
    bad = int(np.isnan(expected).argmax())
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"row {bad}: column y, label of"):
        columns(read(rows, schema, batch_size=2))
    with pytest.warns(UserWarning, match=f"^1 values or rows .* row {bad}: column y, label of"):
        np.testing.assert_equal(columns(read(rows, schema, batch_size=2, on_error="skip"))["y"], expected)


@pytest.mark.parametrize(
    ("feature", "values", "expected"),
    [
        (Numeric("age", transform=None), ["true", "maybe"], [1, NAN]),
        (Numeric("age", transform=None), ["false", "1"], [0, 1]),
        (Numeric("age", transform=None), ["2", "\xff"], [2, NAN]),
        (Categorical("age", vocabulary=("b",)), ["a", "\xff"], [b"a", b""]),
        (Categorical("age", num_ids=9), ["99999999999999999999", "1"], [-1, 1]),
        (Categorical("age", num_ids=9), ["1e3", "1"], [-1, 1]),
    ],
)
def test_csv_does_so_whatever_its_bytes_are(feature, values, expected, tmp_path):
    first = "true" if values[0] in ("true", "false") else "1"  # what tells Arrow that these are truths, or numbers
    rows = ["age,click", *(f"{value},1" for value in [first, *values]), ""]
    (tmp_path / "rows.csv").write_bytes("\n".join(rows).encode("latin-1"))
    schema = Schema([feature], [Task("click")])
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = columns(read(tmp_path / "rows.csv", schema, batch_size=3, on_error="skip"))["age"]
    np.testing.assert_equal(found[1:], expected)
    assert len(warned) == 1 or values == ["false", "1"]


def test_text_that_is_no_utf8_though_its_file_says_so_is_any_bytes(tmp_path):
    texts = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 4, 6], "int32")), pa.py_buffer(b"Oslo\xff\xfe")]
    )
    pa_parquet.write_table(pa.table({"city": texts, "click": [0, 1]}), tmp_path / "rows.parquet")
    schema = Schema([Categorical("city", vocabulary="adapt")], [Task("click")])
    assert columns(read(tmp_path / "rows.parquet", schema, batch_size=2))["city"] == [b"Oslo", b"\xff\xfe"]

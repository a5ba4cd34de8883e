"""Tables and files as outsiders have them: read right, or refused in words that say what to do."""

import gzip

import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf

from tfmtl.data import CsvFormat, adapt, infer_schema, read
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

TASKS = [Task("click")]
USER = Schema([Categorical("user", vocabulary="adapt")], TASKS)


def written(folder, text, name="rows.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("price;user;click\n1,5;a;1\n", r"Expected 1 columns, got 2.*CsvFormat\(delimiter=';'\)"),
        ("user;click\na;1\n", r"\['user', 'click'\] are missing.*CsvFormat\(delimiter=';'\)"),
        ("user\tclick\na\t1\n", r"CsvFormat\(delimiter='\\t'\)"),
        ("user, Click\na, 1\n", r"\['click'\] are missing.*\[' Click'\] differ in blanks or capitals"),
        ("a,1\nb,0\n", r"without a header needs `csv=CsvFormat\(column_names"),
        ("user,user,click\na,b,1\n", r"several columns are called \['user'"),
        (gzip.compress(b"user,click\na,1\n", mtime=0), r"packed, and should be called `.csv.gz`"),
        ("user,click\na,1\n".encode("utf-16"), r"encoding='utf-16'"),
        (b"PAR1\x00\x01,,\n", r"a Parquet file, and should be called `.parquet`"),
    ],
)
def test_files_that_are_something_else_say_what(text, message, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=message):
        read(path, USER, batch_size=2)
    with pytest.raises(ValueError, match=message.replace(r"\['user', 'click'\]", r"\['click'\]")):
        infer_schema(path, TASKS)


def test_labels_in_words_are_compared(tmp_path):
    path = written(tmp_path, "user,click\na,yes\nb,no\n")
    with pytest.raises(ValueError, match=r"column 'click': row 0: .*label=\('click', 'yes'\)\)"):
        read(path, USER, batch_size=2)
    times = {"user": ["a"], "click": pd.to_datetime(["2026-11-01"])}
    with pytest.raises(
        ValueError, match=r"column 'click' must hold numbers .*\(make of a time what is to be predicted"
    ):
        read(times, USER, batch_size=1)


def test_a_column_may_become_something_else_after_megabytes(tmp_path):
    """Arrow takes a file's types from its first block."""
    pad = "p" * 200
    lines = [f"{i % 9},,{pad},{i % 2}\n" for i in range(25_000)]
    path = written(tmp_path, "".join(["user,late,pad,click\n", *lines, f"x7,5,{pad},1\n", f"x7,6,{pad},1\n"]))
    with pytest.warns(UserWarning, match=r"\['pad \(string\)'\]"):
        schema = infer_schema(path, TASKS)
    assert [feature.dtype for feature in schema.features] == ["string", "int64"]
    with pytest.raises(ValueError, match=r"column 'user': row 25000: .*'x7'.*Categorical\('user', dtype=\"string\"\)"):
        adapt(USER, read(path, USER, batch_size=5000), verbose=0)


def test_a_proposal_says_what_it_doubts(tmp_path):
    table = {
        "": range(9),
        "Unnamed: 0": range(9),
        "user_id": [1.0, None, 3.0] * 3,
        "rate": ["5%", "7%", "12.5%"] * 3,
        "price": ["$1.50", "$2.00", "$3,000.00"] * 3,
        "tags": ["['a', 'b']", '["c"]', "['d']"] * 3,
        "genre": ["20,43", "9", "20,43,7"] * 3,
        "code": ["00501", "00502", "10001"] * 3,
        "click": [0, 1, 1] * 3,
    }
    with pytest.warns() as warned:
        schema = infer_schema(table, TASKS)
    said = "\n".join(str(each.message) for each in warned)
    assert "[\"'' (int64)\", 'Unnamed: 0 (int64)']" in said and "['rate', 'price'] look like numbers" in said
    assert "['tags'] look like lists" in said and "['user_id'] are called like ids" in said and len(warned) == 4
    assert [feature.name for feature in schema.features] == ["user_id", "rate", "price", "tags", "genre", "code"]
    assert schema.feature("genre").separator == ","


def test_text_of_every_kind_is_looked_at():
    """Views and codes of views are what Polars hands over; bytes may be no UTF-8."""
    view = pa.array(["a", "b", None] * 3, pa.string_view())
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0] * 3, pa.uint8()), pa.array(["x", "y"], pa.string_view()))
    table = pa.table(
        {"v": view, "c": codes, "b": [b"\xff", b"a", b"b"] * 3, "l": pa.array(["p", "q", "p"] * 3, pa.large_string())}
    ).append_column("click", [[0, 1, 1] * 3])
    schema = infer_schema(table, TASKS)
    assert [(type(feature), feature.dtype) for feature in schema.features] == [(Categorical, "string")] * 4
    x = next(iter(read(table, schema, batch_size=3)))[0]
    assert x["v"].numpy().tolist() == [b"a", b"b", b""] and x["c"].numpy().tolist() == [b"x", b"y", b"x"]
    assert x["b"].numpy().tolist() == [b"\xff", b"a", b"b"]


def test_columns_that_are_not_read_do_no_harm():
    frame = pd.DataFrame({0: ["a", "b"], "user": ["a", "b"], "both": [1, "a"], "click": [0, 1]})
    assert next(iter(read(frame, USER, batch_size=2)))[0]["user"].numpy().tolist() == [b"a", b"b"]
    schema = infer_schema(frame, TASKS, leave_out=["both", "user"])
    assert schema.features[0].column == "0"
    assert next(iter(read(frame, schema, batch_size=2)))[0]["column_0"].numpy().tolist() == [b"a", b"b"]
    with pytest.raises(ValueError, match=r"column both.*make one type"):
        infer_schema(frame, TASKS)
    twice = pd.DataFrame([["a", "b", 1]], columns=["user", "user", "click"])
    with pytest.raises(ValueError, match=r"several columns are called \['user'\]"):
        read(twice, USER, batch_size=1)


@pytest.mark.parametrize(
    ("name", "delimiter", "names"),
    [
        ("u.data", "\t", ["user", "item", "rating", "time"]),
        ("ratings.dat", "::", ["user", "", "item", "", "rating", "", "time"]),
    ],
)
def test_files_of_movielens_as_they_are(name, delimiter, names, tmp_path):
    """Of no known suffix, without a header, and with a delimiter of two characters."""
    lines = [delimiter.join(map(str, row)) for row in ([1, 1193, 5, 978300760], [2, 661, 3, 978302109])]
    path, form = written(tmp_path, "\n".join(lines), name), CsvFormat(delimiter=delimiter[0], column_names=names)
    schema = infer_schema(path, [Task("liked", label=("rating", ">=", 4))], csv=form)
    ((x, y),) = read(path, schema, batch_size=2, csv=form)
    assert {name: values.numpy().tolist() for name, values in {**x, **y}.items()} == {
        "user": [1, 2],
        "item": [1193, 661],
        "time": [978300760, 978302109],
        "liked": [1, 0],
    }
    with pytest.raises(ValueError, match=r"suffix must be one of .*may have another if `csv=CsvFormat"):
        read(path, schema, batch_size=2)


def test_numbers_in_texts_are_no_numbers():
    schema = Schema([Numeric("age")], TASKS)
    for ages in (["1.5", "2"], pd.array(["1,5", None], dtype="string")):
        with pytest.raises(ValueError, match=r"'age' must hold numbers.*\(cast text to numbers, for example"):
            read({"age": ages, "click": [0, 1]}, schema, batch_size=2)


def test_tensors_are_columns_and_sets_are_none():
    rows = {"user": tf.constant(["a", "b"]), "click": tf.constant([0, 1])}
    assert next(iter(read(rows, USER, batch_size=2)))[0]["user"].numpy().tolist() == [b"a", b"b"]
    seen = Schema([Sequence("seen", [Categorical("seen", num_ids=9)], prefix="", length=2)], TASKS)
    rows = {"seen": tf.ragged.constant([[1], [2, 3]]), "click": [0, 1]}
    assert next(iter(read(rows, seen, batch_size=2)))[0]["seen"].numpy().tolist() == [[1, -1], [2, 3]]
    with pytest.raises(ValueError, match=r"column 'user' must have an order. Received: a set"):
        read({"user": {"a", "b"}, "click": [0, 1]}, USER, batch_size=2)


def test_integers_that_are_written_as_floats_say_why(tmp_path):
    path = written(tmp_path, "user,click\n1.0,1\n,0\n")
    with pytest.raises(ValueError, match=r"column 'user': row 0: .*'1.0' \(pandas writes integers with missing values"):
        read(path, Schema([Categorical("user", num_ids=9)], TASKS), batch_size=2)


def test_ids_beyond_int64_say_what_they_can_be():
    ids = pa.table({"user": pa.array([2**63 + 1], pa.uint64()), "click": [1]})
    with pytest.raises(Exception, match="row 0: column 'user' must fit into int64, or be text"):
        list(read(ids, USER, batch_size=1))

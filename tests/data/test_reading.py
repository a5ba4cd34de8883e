"""read: every format gives the same batches; labels, shards, shuffling, and errors that name file, column and row."""

import gzip
import json
import math
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import pytest
import tensorflow as tf
from harness import run_fresh
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmtl import passes
from tfmtl.data.adapting import adapt
from tfmtl.data.arrow import Piece, shard_pieces
from tfmtl.data.chunks import shuffled
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read
from tfmtl.keras_host import keras
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

NAN = math.nan
ROWS = 37


def flat_table(rows=ROWS, start=0):
    """Columns that CSV can hold too, each with missing values."""
    numbers = np.arange(start, start + rows)
    return pa.table(
        {
            "row": pa.array(numbers),
            "city": pa.array([None if n % 7 == 3 else f"city {n % 5}" for n in numbers]),
            "code": pa.array([None if n % 6 == 2 else int(n) * 10**12 for n in numbers], pa.int64()),
            "age": pa.array([None if n % 4 == 1 else n / 2 for n in numbers], pa.float64()),
            "unused": pa.array(["never read"] * rows),
            "click": pa.array([None if n % 9 == 0 else int(n % 2) for n in numbers], pa.int64()),
            "state": pa.array([None if n % 11 == 10 else ("paid", "open")[n % 2] for n in numbers]),
            "watched": pa.array([n * 1.5 for n in numbers]),
            "group": pa.array([int(n % 3) for n in numbers]),
        }
    )


FLAT = Schema(
    [Categorical("city", vocabulary="adapt"), Categorical("code", vocabulary="adapt", dtype="int64"), Numeric("age")],
    [
        Task("click"),
        Task("paid", label=("state", "paid")),
        Task("paid_by_clickers", label=("state", "paid"), sample_space="click"),
        Task("watched", "regression", sample_space=("group", 1)),
        Task("both", label="click", sample_space=(("group", 2), ("state", "open"))),
    ],
)


def expected(n):
    """x and y of row n, by the rules of the docstring."""
    click = NAN if n % 9 == 0 else float(n % 2)
    paid = NAN if n % 11 == 10 else float(n % 2 == 0)
    x = {
        "city": b"" if n % 7 == 3 else f"city {n % 5}".encode(),
        "code": -1 if n % 6 == 2 else n * 10**12,
        "age": NAN if n % 4 == 1 else n / 2,
    }
    y = {
        "click": click,
        "paid": paid,
        "paid_by_clickers": paid if click == 1 else NAN,
        "watched": n * 1.5 if n % 3 == 1 else NAN,
        "both": click if n % 3 == 2 and n % 11 != 10 and n % 2 else NAN,
    }
    return x, y


def rows_of(dataset):
    """`{row: (x, y)}` of all rows of a dataset read with `columns=("row",)`, in the order of reading."""
    found = {}
    for x, y in dataset.as_numpy_iterator():
        for i, n in enumerate(x["row"].tolist()):
            assert n not in found, f"row {n} came twice"
            found[n] = {k: v[i] for k, v in x.items() if k != "row"}, {k: v[i] for k, v in y.items()}
    return found


def check_rows(found, rows=range(ROWS)):
    assert sorted(found) == sorted(rows)
    for n, (x, y) in found.items():
        wanted_x, wanted_y = expected(n)
        for got, wanted in ((x, wanted_x), (y, wanted_y)):
            assert got.keys() == wanted.keys()
            for name, value in wanted.items():
                np.testing.assert_equal(got[name], value, err_msg=f"row {n}, {name}")


def write_parquet(table, path):
    pa_parquet.write_table(table, path, row_group_size=10)
    return path


def write_csv(table, path):
    pa_csv.write_csv(table, path)
    return path


def write_gzip(table, path):
    with gzip.open(path, "wb") as file:
        pa_csv.write_csv(table, file)
    return path


def write_tfrecord(table, path):
    options = tf.io.TFRecordOptions(compression_type="GZIP" if str(path).endswith(".gz") else "")
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for row in table.to_pylist():
            features = {name: example_feature(value) for name, value in row.items() if value not in (None, [])}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return path


def example_feature(value):
    values = value if isinstance(value, list) else [value]
    if values and isinstance(values[0], str):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


WRITERS = {
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".csv.gz": write_gzip,
    ".tfrecord": write_tfrecord,
    ".tfrecord.gz": write_tfrecord,
}


def sources(folder):
    """The same rows in every form that `read` takes."""
    table = flat_table()
    for suffix, write in WRITERS.items():
        yield suffix, str(write(table, folder / f"rows{suffix}"))
    yield "Path", folder / "rows.parquet"
    yield "table", table
    yield "reader", pa.table(table).to_reader()
    yield "pandas", table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)


def test_every_source_gives_the_same_rows(tmp_path):
    for form, source in sources(tmp_path):
        dataset = read(source, FLAT, batch_size=8, columns=("row",))
        found = rows_of(dataset)
        check_rows(found)
        assert list(found) == list(range(ROWS)), f"{form}: rows out of order"
        known = form not in (".csv", ".csv.gz", ".tfrecord", ".tfrecord.gz")
        assert int(dataset.cardinality()) == (5 if known else tf.data.UNKNOWN_CARDINALITY), form


@pytest.mark.parametrize("suffix", WRITERS)
def test_many_files_in_order_and_shuffled(tmp_path, suffix):
    for i in range(3):
        WRITERS[suffix](flat_table(11 + i, start=i * 20), tmp_path / f"part-{i}{suffix}")
    everything = [*range(11), *range(20, 32), *range(40, 53)]
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "notes.txt").write_text("not a file of rows")
    for source in (tmp_path, str(tmp_path / f"*{suffix}"), [tmp_path / f"part-{i}{suffix}" for i in range(3)]):
        found = rows_of(read(source, FLAT, batch_size=7, columns=("row",)))
        check_rows(found, everything)
        if "tfrecord" not in suffix:
            assert list(found) == everything
    shuffled = read(tmp_path, FLAT, batch_size=7, columns=("row",), shuffle=True, seed=3)
    found = rows_of(shuffled)
    check_rows(found, everything)
    assert list(found) != everything


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tfrecord"])
def test_shuffling_is_reproducible_and_new_in_each_pass(tmp_path, suffix):
    path = WRITERS[suffix](flat_table(200), tmp_path / f"rows{suffix}")

    def passes(window, seed):
        dataset = read(path, FLAT, batch_size=16, columns=("row",), shuffle=window, seed=seed)
        return [list(rows_of(dataset)) for _ in range(2)]

    first, second = passes(50, 1)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(200))
    assert passes(50, 1) == [first, second]
    assert passes(True, 2)[0] != first


def test_a_window_mixes_rows_across_its_borders():
    tables = [pa.table({"row": range(start, start + 100)}) for start in range(0, 10_000, 100)]
    parts = list(shuffled(tables, 1000, np.random.default_rng(0)))
    assert max(part.num_rows for part in parts[:-1]) == 500  # half a window goes out, whatever waits
    order = pa.concat_tables(parts)["row"].to_numpy()
    assert sorted(order) == list(range(10_000))
    late = np.flatnonzero(order < 1000).max()  # of the rows that fill the window first
    assert 2000 < late < 9999
    assert order[:500].max() < 1000


def test_the_seed_of_keras_decides_without_one():
    def order(seed):
        np.random.seed(seed)
        return list(rows_of(read(flat_table(100), FLAT, batch_size=10, columns=("row",), shuffle=True)))

    assert order(1) == order(1)
    assert order(1) != order(2)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("files", [1, 4])
def test_shards_share_no_row_and_hold_all(tmp_path, suffix, files):
    for i in range(files):
        WRITERS[suffix](flat_table(10 + 3 * i, start=i * 50), tmp_path / f"part-{i}{suffix}")
    everything = [n for i in range(files) for n in range(i * 50, i * 50 + 10 + 3 * i)]
    shards = [rows_of(read(tmp_path, FLAT, batch_size=4, columns=("row",), shard=(i, 2))) for i in range(2)]
    assert sorted(n for shard in shards for n in shard) == everything
    check_rows({n: row for shard in shards for n, row in shard.items()}, everything)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(1, 9), st.booleans())
def test_shards_are_even(sizes, count, known):
    pieces = tuple(Piece(i, num_rows=size if known else None) for i, size in enumerate(sizes))
    shards = [shard_pieces(pieces, index, count) for index in range(count)]
    rows = [[(p.file, n) for p in shard for n in range(sizes[p.file])[p.start : p.stop : p.step]] for shard in shards]
    assert sorted(row for shard in rows for row in shard) == [
        (i, n) for i, size in enumerate(sizes) for n in range(size)
    ]
    if known:
        assert max(map(len, rows)) - min(map(len, rows)) <= 1
        assert [sum(p.kept_rows for p in shard) for shard in shards] == list(map(len, rows))


def test_partial_batches():
    def sizes(drop):
        dataset = read(flat_table(), FLAT, batch_size=10, drop_remainder=drop)
        return [len(x["age"]) for x, _ in dataset], int(dataset.cardinality()), dataset.element_spec[0]["age"].shape[0]

    assert sizes(False) == ([10, 10, 10, 7], 4, None)
    assert sizes(True) == ([10, 10, 10], 3, 10)


def test_large_ids_stay_exact_where_tasks_read_them_too(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f"code,click\n{2**60 + 1},1\n{2**60 + 3},0\n")
    schema = Schema([Categorical("code", hash_buckets=2, dtype="int64")], [Task("click", sample_space="code")])
    x, _ = next(iter(read(path, schema, batch_size=2)))
    assert x["code"].numpy().tolist() == [2**60 + 1, 2**60 + 3]


def test_one_name_may_begin_another():
    schema = Schema([Numeric("age")], [Task("click", sample_space=("c", "yes"))])
    table = pa.table({"age": [1.0, 2.0], "click": [1, 0], "c": ["yes", "no"]})
    np.testing.assert_array_equal(next(iter(read(table, schema, batch_size=2)))[1]["click"], [1, NAN])


def test_features_alone():
    table = flat_table().drop_columns(["click", "state", "watched", "group"])
    x = next(iter(read(table, FLAT, batch_size=4, labels=False)))
    assert set(x) == {"city", "code", "age"}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_column_can_be_feature_and_sample_space(tmp_path, suffix):
    path = WRITERS[suffix](flat_table(), tmp_path / f"rows{suffix}")
    schema = Schema([Categorical("group", num_ids=3)], [Task("click", sample_space=("group", 1))])
    x, y = next(iter(read(path, schema, batch_size=ROWS)))
    np.testing.assert_array_equal(np.isnan(y["click"]), (x["group"].numpy() != 1) | (np.arange(ROWS) % 9 == 0))


HISTORY = Sequence("seen", (Categorical("item", num_ids=10), Categorical("kind", vocabulary=("pv", "buy"))), length=3)
LISTS = Schema([HISTORY, Numeric("vector", size=2)], [Task("click")])


def list_table():
    return pa.table(
        {
            "seen_item": pa.array([[1, 2, 3, 4, 5], [], None, [7], [None, 8]], pa.list_(pa.int32())),
            "seen_kind": pa.array(
                [["pv", "buy", "pv", "buy", "pv"], [], None, ["pv"], ["buy", None]], pa.large_list(pa.string())
            ),
            "vector": pa.array([[1, 2], [3, None], None, [5, 6], [7, 8]], pa.list_(pa.float32())),
            "click": pa.array([True, False, None, True, False]),
        }
    )


def check_lists(batch):
    x, y = batch
    assert x["seen_item"].numpy().tolist() == [[3, 4, 5], [-1] * 3, [-1] * 3, [7, -1, -1], [-1, 8, -1]]
    kinds = [[b"pv", b"buy", b"pv"], [b""] * 3, [b""] * 3, [b"pv", b"", b""], [b"buy", b"", b""]]
    assert x["seen_kind"].numpy().tolist() == kinds
    np.testing.assert_array_equal(x["vector"], np.array([[1, 2], [3, NAN], [NAN, NAN], [5, 6], [7, 8]], "float32"))
    np.testing.assert_array_equal(y["click"], np.array([1, 0, NAN, 1, 0], "float32"))


def test_lists_become_padded_histories_and_vectors(tmp_path):
    path = write_parquet(list_table(), tmp_path / "rows.parquet")
    for source in (path, list_table(), pd.DataFrame(list_table().to_pydict())):
        dataset = read(source, LISTS, batch_size=5)
        check_lists(next(iter(dataset)))
        assert dataset.element_spec[0]["seen_item"].shape.as_list() == [None, 3]
    # A slice starts in the middle of the items.
    x, _ = next(iter(read(list_table().slice(3), LISTS, batch_size=5)))
    assert x["seen_item"].numpy().tolist() == [[7, -1, -1], [-1, 8, -1]]


def test_lists_from_tfrecord(tmp_path):
    rows = [
        {"seen_item": [1, 2, 3, 4, 5], "seen_kind": ["pv", "buy", "pv", "buy", "pv"], "vector": [1.0, 2.0], "click": 1},
        {"seen_item": [], "seen_kind": [], "vector": [3.0, NAN], "click": 0},
        {},
        {"seen_item": [7], "seen_kind": ["pv"], "vector": [5.0, 6.0], "click": 1},
        {"seen_item": [-1, 8], "seen_kind": ["buy", ""], "vector": [7.0, 8.0], "click": 0},
    ]

    class Rows:
        def to_pylist(self):
            return rows

    path = write_tfrecord(Rows(), tmp_path / "rows.tfrecord")
    check_lists(next(iter(read(path, LISTS, batch_size=5))))


def test_histories_survive_shuffling(tmp_path):
    items = [[n] * (n % 5) for n in range(300)]
    table = pa.table({"row": list(range(300)), "seen_item": items, "seen_kind": [["pv"] * len(i) for i in items]})
    table = table.append_column("vector", pa.array([[n, n] for n in range(300)])).append_column(
        "click", pa.array([1] * 300)
    )
    path = write_parquet(table, tmp_path / "rows.parquet")
    for n, (x, _) in rows_of(read(path, LISTS, batch_size=32, columns=("row",), shuffle=64, seed=0)).items():
        kept = min(n % 5, 3)
        assert x["seen_item"].tolist() == [n] * kept + [-1] * (3 - kept)
        assert x["seen_kind"].tolist() == [b"pv"] * kept + [b""] * (3 - kept)
        assert x["vector"].tolist() == [n, n]


def test_types_of_other_writers_are_taken(tmp_path):
    """Categories of pandas, large strings, small integers and decimals, one kind in one file and another in the next."""
    schema = Schema(
        [Categorical("city", vocabulary=("a", "b")), Categorical("code", num_ids=9), Numeric("age")], [Task("click")]
    )
    narrow = pa.table(
        {
            "city": pa.array(["a", "b"]).dictionary_encode(),
            "code": pa.array([1, 2], pa.int8()),
            "age": pa.array([1, 2], pa.decimal128(5, 2)),
            "click": pa.array([True, None]),
        }
    )
    wide = pa.table(
        {
            "click": pa.array([0.0, NAN]),
            "age": pa.array([2**60, 4], pa.int64()),
            "code": pa.array([3, None], pa.uint32()),
            "city": pa.array(["b", None], pa.large_string()),
        }
    )
    pa_parquet.write_table(narrow, tmp_path / "1.parquet")
    pa_parquet.write_table(wide.set_column(1, "age", pa.array([2.0**60, 4])), tmp_path / "2.parquet")
    x, y = next(iter(read(tmp_path, schema, batch_size=4)))
    assert x["city"].numpy().tolist() == [b"a", b"b", b"b", b""]
    assert x["code"].numpy().tolist() == [1, 2, 3, -1]
    assert x["age"].numpy().tolist() == [1, 2, 2.0**60, 4]
    np.testing.assert_array_equal(y["click"], [1, NAN, 0, NAN])
    x, _ = next(iter(read(wide, schema, batch_size=2)))  # too large for an exact float64 as an integer
    assert x["age"].numpy().tolist() == [2.0**60, 4]


def test_a_type_that_the_schema_leaves_open_comes_from_the_file(tmp_path):
    schema = Schema([Categorical("a", vocabulary="adapt"), Categorical("b", vocabulary="adapt")], [Task("click")])
    table = pa.table({"a": [3, 3, None], "b": ["x", "y", "y"], "click": [0, 1, 1]})
    for suffix, write in WRITERS.items():
        adapted = adapt(schema, read(write(table, tmp_path / f"rows{suffix}"), schema, batch_size=2))
        assert (adapted.feature("a").vocabulary, adapted.feature("b").vocabulary) == ((3,), ("y", "x")), suffix


def test_text_that_looks_like_numbers_stays_text(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("code,note,click\n01,NA,1\n1,null,0\n")
    features = [Categorical("code", vocabulary=("01", "1")), Categorical("note", vocabulary=("NA", "null"))]
    x, _ = next(iter(read(path, Schema(features, [Task("click")]), batch_size=2)))
    assert Preprocessor(features)(x)["code"].numpy().tolist() == [1, 2]
    assert Preprocessor(features)(x)["note"].numpy().tolist() == [1, 2]


def test_feeds_the_preprocessor_and_keeps_the_number_of_batches():
    adapted = adapt(FLAT, read(flat_table(), FLAT, batch_size=16))
    dataset = read(flat_table(), adapted, batch_size=16).map(Preprocessor(adapted.features))
    assert int(dataset.cardinality()) == 3
    encoded, y = next(iter(dataset))
    assert encoded["city"].dtype == tf.int32
    assert set(y) == set(FLAT.task_names)


def test_many_different_words(tmp_path):
    """More words than rows of a chunk: dictionaries are cut to what a chunk needs."""
    words = [f"word {n % 30_000}" for n in range(60_000)]
    table = pa.table({"row": list(range(60_000)), "w": words, "click": [1] * 60_000})
    schema = Schema([Categorical("w", hash_buckets=10)], [Task("click")])
    pa_parquet.write_table(table, tmp_path / "rows.parquet")
    for source in (table, tmp_path / "rows.parquet"):
        for shuffle in (False, 20_000):
            batches = [x for x, _ in read(source, schema, batch_size=5000, columns=("row",), shuffle=shuffle, seed=1)]
            rows, found = (np.concatenate([x[column].numpy() for x in batches]) for column in ("row", "w"))
            assert sorted(rows) == list(range(60_000))
            assert [word.decode() for word in found] == [words[n] for n in rows]


# What is refused.


def message_of(dataset):
    with pytest.raises((tf.errors.OpError, ValueError)) as caught:
        for _ in dataset:
            pass
    return str(caught.value)


@pytest.mark.parametrize("suffix", WRITERS)
def test_names_missing_columns_and_their_file(tmp_path, suffix):
    WRITERS[suffix](flat_table(), tmp_path / f"1{suffix}")
    bad = WRITERS[suffix](flat_table().drop_columns(["age", "state"]), tmp_path / f"2{suffix}")
    with pytest.raises(ValueError, match=rf"{bad}: columns \['age', 'state'\] are missing. Received: \[.*'city'"):
        read([bad], FLAT, batch_size=8)
    if "tfrecord" not in suffix:  # a record does not tell a column that it lacks from one that its file lacks
        with pytest.raises(ValueError, match=rf"{bad}: columns \['age', 'state'\] are missing"):
            read(tmp_path, FLAT, batch_size=8)


def test_names_missing_columns_of_tables():
    with pytest.raises(ValueError, match=r"Table: columns \['age', 'nobody'\] are missing"):
        read(flat_table().drop_columns("age"), FLAT, batch_size=8, columns=("nobody",))
    with pytest.raises(ValueError, match=r"DataFrame: columns \['age'\] are missing"):
        read(flat_table().drop_columns("age").to_pandas(), FLAT, batch_size=8)


@pytest.mark.parametrize("suffix", [".parquet", ".tfrecord"])
@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("city", [1, 2], "'city' must hold strings. Received: int64"),
        ("code", ["1", "2"], "'code' must hold integers. Received: string"),
        ("code", [1.0, 2.0], "'code' must hold integers. Received: (double|float).*Int64"),
        ("age", ["1", "2"], "'age' must hold numbers. Received: string"),
        (
            "click",
            ["1", "0"],
            r"'click' must hold numbers \(text is compared with text: `\('click', '1'\)`\). Received: string",
        ),
        ("state", [1, 0], "'state' must hold strings. Received: int64"),
    ],
)
def test_names_the_column_of_another_type(tmp_path, suffix, column, values, message):
    WRITERS[suffix](flat_table(2), tmp_path / f"1{suffix}")
    table = flat_table(2)
    table = table.set_column(table.column_names.index(column), column, pa.array(values))
    bad = WRITERS[suffix](table, tmp_path / f"2{suffix}")
    with pytest.raises(ValueError, match=f"{bad}: column {message}"):
        read(tmp_path, FLAT, batch_size=8)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("seen_item", [1, 2], "'seen_item' must hold lists of integers. Received: int64"),
        ("seen_item", [["a"], ["b"]], r"'seen_item' must hold lists of integers. Received: list<.*string>"),
        ("vector", [1.0, 2.0], "'vector' must hold lists of numbers. Received: double"),
        ("click", [[1], [0]], r"'click' must hold numbers.*Received: list<.*int64>"),
    ],
)
def test_names_what_should_be_lists_and_what_should_not(column, values, message):
    table = list_table().slice(0, 2)
    table = table.set_column(table.column_names.index(column), column, pa.array(values))
    with pytest.raises(ValueError, match=f"Table: column {message}"):
        read(table, LISTS, batch_size=2)


def test_lists_of_unequal_or_wrong_length_name_their_row(tmp_path):
    table = list_table()
    shorter = table.set_column(1, "seen_kind", pa.array([["pv"] * 5, [], None, ["pv"], ["buy"]]))
    text = message_of(read(shorter, LISTS, batch_size=5))
    assert "Table: row 4: column 'seen_kind' must hold 2 items, as many as column 'seen_item'. Received: 1" in text
    longer = table.set_column(2, "vector", pa.array([[1.0, 2], None, [1, 2], [1, 2, 3], [1, 2]]))
    text = message_of(read(longer, LISTS, batch_size=5, shuffle=True, seed=0))
    assert "Table: row 3: column 'vector' must hold 2 items, as the feature's `size`. Received: 3" in text
    rows = [{"seen_item": [1], "seen_kind": ["pv"], "vector": [1.0, 2.0], "click": 1}] * 3
    rows.append(rows[0] | {"seen_kind": ["pv", "pv"]})
    path = write_tfrecord(pa.Table.from_pylist(rows), tmp_path / "rows.tfrecord")
    text = message_of(read(path, LISTS, batch_size=5))
    assert f"{path}: row 3: columns seen_item and seen_kind must hold equally many items" in text
    path = write_tfrecord(pa.Table.from_pylist([rows[0], rows[0] | {"vector": [1.0]}]), tmp_path / "rows.tfrecord")
    assert f"{path}: row 1, Key: vector" in message_of(read(path, LISTS, batch_size=5))


@pytest.mark.parametrize(("suffix", "bad"), zip(WRITERS, (2.0, -1.0, 0.5, 7.0, 1.5), strict=True))
def test_names_the_row_of_a_label_that_is_no_label(tmp_path, suffix, bad):
    labels = [0.0, 1.0] * 7 + [bad, 1.0, bad]  # Parquet: in its second row group
    good = WRITERS[suffix](flat_table(17), tmp_path / f"1{suffix}")
    table = flat_table(17)
    path = WRITERS[suffix](table.set_column(5, "click", pa.array(labels)), tmp_path / f"2{suffix}")
    source = [path] if "tfrecord" in suffix else [good, path]  # records must agree on integers or floats
    text = message_of(read(source, FLAT, batch_size=2))
    assert (
        f"{path}: row 14: column click, label of the binary task click, must be 0, 1 or missing. Received: {bad:g}"
        in text
    )


def test_fit_says_what_is_wrong():
    table = pa.table({"age": [1.0, 2.0, 3.0], "click": [0, 1, 5]})
    schema = Schema([Numeric("age", transform=None)], [Task("click")])
    x = keras.Input((), name="age")
    model = keras.Model({"age": x}, {"click": keras.layers.Dense(1)(keras.layers.Reshape((1,))(x))})
    model.compile("sgd", {"click": "mse"})
    dataset = read(table, schema, batch_size=1).map(Preprocessor(schema.features))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="Table: row 2: column click, label of the binary task click"
    ):
        model.fit(dataset, verbose=0)


def test_tfrecord_is_read_without_python(tmp_path, monkeypatch):
    """A parameter server strategy sends a dataset's graph to its workers, which know no Python of ours."""

    def graph(source, shuffle=True):
        variant = tf.data.experimental.to_variant(read(source, FLAT, batch_size=4, shuffle=shuffle))
        return tf.raw_ops.DatasetToGraphV2(input_dataset=variant).numpy()

    path = write_tfrecord(flat_table(), tmp_path / "rows.tfrecord")
    assert b"PyFunc" not in graph(path, shuffle=False)
    assert b"PyFunc" in graph(flat_table())
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"chief": ["a:1"], "worker": ["b:1"], "ps": ["c:1"]}}))
    assert b"PyFunc" not in graph(path)


@pytest.mark.parametrize("suffix", [".parquet", ".tfrecord"])
def test_a_pass_follows_from_seed_and_number(tmp_path, suffix):
    """Not from how many passes this process has begun: a run that goes on sets their number."""
    path = tmp_path / f"rows{suffix}"
    (write_tfrecord if suffix == ".tfrecord" else pa_parquet.write_table)(flat_table(), path)

    def order(dataset):
        return [row for x, _ in dataset for row in x["row"].numpy().tolist()]

    def shuffled():
        return read(path, FLAT, batch_size=7, columns=("row",), shuffle=20, seed=3)

    first = shuffled()
    before = passes.tell()
    wanted = [order(first) for _ in range(3)]
    assert wanted[0] != wanted[1] != wanted[2] and sorted(wanted[0]) == sorted(wanted[1])
    assert passes.tell() == [*before[:-1], [3, 3]]
    passes.seek([*passes.tell()[:-1], [3, 1]])
    assert [order(first) for _ in range(2)] == wanted[1:]
    with pytest.raises(ValueError, match="another order than before"):
        passes.seek([[seed + 1, count] for seed, count in before])


def test_labels_outside_their_sample_space_may_be_anything():
    table = pa.table({"age": [1.0, 2.0], "click": [1, 0], "buy": [1, -1], "watched": [math.inf, 1.0]})
    space = Schema([Numeric("age")], [Task("click"), Task("buy", sample_space="click")])
    np.testing.assert_array_equal(next(iter(read(table, space, batch_size=2)))[1]["buy"], [1, NAN])
    text = message_of(read(table, Schema([Numeric("age")], [Task("watched", "regression")]), batch_size=2))
    assert "Table: row 0: column watched, label of the regression task watched, must be finite or missing" in text


def test_a_label_cannot_be_text_and_number():
    schema = Schema([Numeric("age")], [Task("click"), Task("other", label=("click", "yes"))])
    with pytest.raises(ValueError, match="use column 'click' both as text and as a number"):
        read(flat_table(), schema, batch_size=2)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_names_the_row_of_text_in_a_numeric_column(tmp_path, suffix):
    good, bad = tmp_path / f"1{suffix}", tmp_path / f"2{suffix}"
    open_text = gzip.open if suffix == ".csv.gz" else open
    schema = Schema([Categorical("code", num_ids=10), Numeric("age")], [Task("click")])
    for path, age in ((good, "3"), (bad, "old")):
        with open_text(path, "wt") as file:
            file.write("click,unused,age,code\n1,x,2.5,4\n0,y,,\n" + f"1,z,{age},5\n")
    with pytest.raises(ValueError, match=f"{bad}: column 'age': row 2: .*invalid value 'old'"):
        read(tmp_path, schema, batch_size=2)
    x, y = next(iter(read(good, schema, batch_size=3)))
    np.testing.assert_array_equal(x["age"], [2.5, NAN, 3])
    assert x["code"].numpy().tolist() == [4, -1, 5]
    np.testing.assert_array_equal(y["click"], [1, 0, 1])


def test_names_the_row_of_text_far_into_a_file(tmp_path):
    path = tmp_path / "rows.csv"
    lines = ["1,0.25,a city whose name takes some room" for _ in range(200_000)]
    lines[190_000] = "1,far,x"
    path.write_text("click,age,city\n" + "\n".join(lines))
    schema = Schema([Numeric("age"), Categorical("city", hash_buckets=3)], [Task("click")])
    dataset = read(path, schema, batch_size=4096)
    assert f"{path}: column 'age': row 190000:" in message_of(dataset)


def test_refuses_csv_for_lists(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("seen_item,seen_kind,vector,click\n1,pv,2,1\n")
    with pytest.raises(ValueError, match=r"holds no lists, as columns \['seen_item', 'seen_kind', 'vector'\] must be"):
        read(path, LISTS, batch_size=2)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tfrecord", ".tfrecord.gz"])
def test_names_a_file_that_cannot_be_read(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(b"" if suffix == ".csv" else b"neither rows nor columns, but longer than a header")
    with pytest.raises(ValueError, match=f"{path}: not a readable"):
        read(path, FLAT, batch_size=2)


def test_names_a_file_that_breaks_off(tmp_path):
    rng = np.random.default_rng(0)
    table = pa.table({"age": rng.normal(size=50_000), "click": rng.integers(0, 2, 50_000)})
    schema = Schema([Numeric("age")], [Task("click")])
    path = tmp_path / "2.parquet"
    for file in (tmp_path / "1.parquet", path):
        pa_parquet.write_table(table, file, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[1000:200_000] = bytes(199_000)
    path.write_bytes(data)
    assert f"ValueError: {path}: not a readable Parquet file" in message_of(read(tmp_path, schema, batch_size=1000))


@pytest.mark.parametrize("suffix", [".tfrecord", ".tfrecord.gz"])
def test_names_a_tfrecord_file_that_breaks_off(tmp_path, suffix):
    schema = Schema([Numeric("age", transform="standardize")], [Task("click")])
    table = pa.table({"age": np.arange(600.0), "click": np.arange(600) % 2})
    for number in (1, 2):
        path = write_tfrecord(table, tmp_path / f"{number}{suffix}")
    whole = path.read_bytes()
    spoilt = bytearray(gzip.decompress(whole) if suffix.endswith(".gz") else whole)
    size = len(spoilt) // 600
    spoilt[500 * size + 20] ^= 1
    for data, row in (
        (bytes(spoilt), 500),
        (bytes(spoilt[: 300 * size]), None),
        (bytes(spoilt[: 300 * size + 14]), 300),
    ):
        path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
        for work in (lambda rows: len(list(rows)), lambda rows: adapt(schema, rows)):
            if row is None:  # fewer rows, but whole
                assert work(read(tmp_path, schema, batch_size=100))
                continue
            with pytest.raises(Exception, match=f"{path}: not a readable TFRecord file: row {row} is cut off"):
                work(read(tmp_path, schema, batch_size=100))


def test_a_compressed_tfrecord_file_may_be_several_in_one(tmp_path):
    table = pa.table({"age": np.arange(20.0), "click": np.arange(20) % 2})
    path = write_tfrecord(table, tmp_path / "rows.tfrecord.gz")
    path.write_bytes(path.read_bytes() + write_tfrecord(table.slice(0, 5), tmp_path / "more.tfrecord.gz").read_bytes())
    (rows,) = read(path, Schema([Numeric("age")], [Task("click")]), batch_size=100)
    assert rows[0]["age"].numpy().tolist() == [*range(20), *range(5)]


@pytest.mark.parametrize("suffix", WRITERS)
def test_refuses_a_source_without_rows(tmp_path, suffix):
    path = WRITERS[suffix](flat_table(0), tmp_path / f"rows{suffix}")
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"There is no (row|record) to read"):
        list(read(path, Schema([Categorical("city", hash_buckets=2)], [Task("click")]), batch_size=2))


def test_refuses_more_shards_than_rows():
    with pytest.raises(ValueError, match="no row to read in part 0 of 9"):
        read(flat_table(4), FLAT, batch_size=2, shard=(0, 9))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nowhere.parquet", FileNotFoundError, "no file to read. Received: source='nowhere.parquet'"),
        ("*.parquet", FileNotFoundError, "no file to read"),
        ([], FileNotFoundError, "no file to read"),
        (7, ValueError, "`source` must be a path, .*Received: source=7"),
    ],
)
def test_refuses_what_is_no_source(tmp_path, monkeypatch, source, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        read(source, FLAT, batch_size=2)


def test_refuses_a_file_given_twice(tmp_path):
    path = write_parquet(flat_table(), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"names files twice. Received: \['.*rows.parquet'\]"):
        read([path, tmp_path], FLAT, batch_size=2)


def test_refuses_unknown_and_mixed_formats(tmp_path):
    (tmp_path / "rows.xlsx").touch()
    with pytest.raises(ValueError, match=r"suffix must be one of .*rows.xlsx"):
        read(tmp_path / "rows.xlsx", FLAT, batch_size=2)
    write_csv(flat_table(), tmp_path / "rows.csv")
    write_parquet(flat_table(), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"must have one format. Received: .*rows.csv"):
        read(tmp_path, FLAT, batch_size=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 2, "shuffle": -1}, "shuffle=-1"),
        ({"batch_size": 2, "shard": (2, 2)}, r"shard=\(2, 2\)"),
        ({"batch_size": 2, "shard": (-1, 2)}, r"shard=\(-1, 2\)"),
    ],
)
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        read(flat_table(), FLAT, **arguments)


def test_mixed_types_in_a_dataframe_name_the_column():
    frame = pd.DataFrame({"city": ["a", 1], "click": [0, 1]})
    with pytest.raises(ValueError, match=r"DataFrame: .*city"):
        read(frame, Schema([Categorical("city", vocabulary="adapt")], [Task("click")]), batch_size=2)


DISTRIBUTED = """
    import sys
    import numpy as np
    import pyarrow as pa
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from tfmtl.data.preprocessing import Preprocessor
    from tfmtl.data.reading import read
    from tfmtl.keras_host import keras
    from tfmtl.schema import Categorical, Numeric, Schema, Task
    schema = Schema([Categorical("code", num_ids=10), Numeric("age", transform=None)], [Task("click")])
    rows = {"code": np.arange(100) % 12, "age": np.arange(100) / 100, "click": np.arange(100) % 2}
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    dataset = read(pa.table(rows), schema, batch_size=16, shuffle=True, seed=0).map(Preprocessor(schema.features))
    seen = []
    for x, y in strategy.experimental_distribute_dataset(dataset):
        parts = strategy.experimental_local_results(x["age"])
        assert len(parts) == 2
        seen += [float(v) for part in parts for v in part]
    np.testing.assert_allclose(sorted(seen), rows["age"], rtol=1e-6)
    with strategy.scope():
        x = {"code": keras.Input((), name="code", dtype="int32"), "age": keras.Input((), name="age")}
        h = keras.layers.Flatten()(keras.layers.Embedding(11, 3)(keras.layers.Reshape((1,))(x["code"])))
        y = {"click": keras.layers.Dense(1, activation="sigmoid")(keras.layers.Concatenate()([h, keras.layers.Reshape((1,))(x["age"])]))}
        model = keras.Model(x, y)
        model.compile(keras.optimizers.Adam(0.1), {"click": "binary_crossentropy"})
    losses = model.fit(dataset, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2, losses  # a code's parity is its label: labels of other rows would teach nothing
    assert 0 < model.evaluate(dataset, verbose=0) < losses[0] / 2
"""


@pytest.mark.parametrize("legacy", ["0", "1"])
def test_fits_under_two_replicas(legacy):
    run_fresh(DISTRIBUTED, env={"TF_USE_LEGACY_KERAS": legacy})


WORKER = """
    import json
    import os
    import sys
    import tensorflow as tf
    worker, ports, path = int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3]
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": worker}})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    from tfmtl.data.reading import read
    from tfmtl.schema import Numeric, Schema, Task
    schema = Schema([Numeric("age")], [Task("click")])
    found = {}
    for how, shard in {"by itself": (0, 1), "by shard": (worker, 2)}.items():
        dataset = read(path, schema, batch_size=8, shuffle=shard[1] > 1, shard=shard)  # alone it would be refused
        batches = [x["age"] for x, _ in strategy.experimental_distribute_dataset(dataset)]
        parts = [part for batch in batches for part in strategy.experimental_local_results(batch)]
        found[how] = [row for part in parts for row in part.numpy().tolist()]
    print("ROWS" + json.dumps(found))
"""


def test_two_workers_share_the_rows(tmp_path):
    path = tmp_path / "rows.parquet"
    pa_parquet.write_table(pa.table({"age": np.arange(64.0), "click": [1] * 64}), path, row_group_size=10)
    ports = ",".join(map(str, free_ports(2)))
    with ThreadPoolExecutor() as pool:
        outputs = pool.map(lambda worker: run_fresh(WORKER, worker, ports, path), range(2))
    first, second = (json.loads(output.split("ROWS")[1]) for output in outputs)
    for how in first:
        assert sorted(first[how] + second[how]) == list(range(64)), how
        assert len(first[how]) == len(second[how]) == 32, how


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listening in sockets:
            listening.bind(("localhost", 0))
        return [listening.getsockname()[1] for listening in sockets]

"""What read takes beside plain files and tables, and what it says where it cannot."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from test_reading import message_of, write_csv

from tfmtl.data.adapting import adapt
from tfmtl.data.chunks import shuffled
from tfmtl.data.reading import read
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

NAN = np.nan
CLICK = Task("click")
AGE = Schema([Numeric("age")], [CLICK])
CODE = Schema([Categorical("code", hash_buckets=9, dtype="int64")], [CLICK])


def column(source, schema, name, **options):
    """All values of one column."""
    batches = read(source, schema, batch_size=2, **options).as_numpy_iterator()
    return [value for x, _ in batches for value in x[name].tolist()]


def test_a_window_forgets_the_words_that_left_it():
    def tables():
        for start in range(0, 20_000, 100):
            words = pa.array([f"word {n}" for n in range(start, start + 100)]).dictionary_encode()
            yield pa.table({"word": words, "row": np.arange(start, start + 100)})

    parts = list(shuffled(tables(), 400, np.random.default_rng(0)))
    assert max(len(part["word"].chunk(0).dictionary) for part in parts) < 1000
    found = {
        row: word for part in parts for row, word in zip(part["row"].to_pylist(), part["word"].to_pylist(), strict=True)
    }
    assert found == {n: f"word {n}" for n in range(20_000)}


def test_a_folder_is_read_without_what_is_not_for_readers(tmp_path):
    table = pa.table({"age": [1.0], "click": [1]})
    for folder in ("part", "_temporary/0", ".ipynb_checkpoints", "part/.hidden"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        write_csv(table, tmp_path / folder / "rows.csv")
    assert column(tmp_path, AGE, "age") == [1.0]
    assert column(tmp_path / "_temporary", AGE, "age") == [1.0]  # named by the caller


def in_folders(root, suffix=".parquet", **folders):
    """A file of two rows in each folder, whose age is a number of its own."""
    for age, folder in enumerate(folders.values()):
        (root / folder).mkdir(parents=True)
        table = pa.table({"age": [age + 0.25, age + 0.75], "click": [0, 1]})
        (write_csv if suffix == ".csv" else pa_parquet.write_table)(table, root / folder / f"rows{suffix}")
    return root


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_names_of_folders_are_columns_that_no_file_has(tmp_path, suffix):
    source = in_folders(
        tmp_path,
        suffix,
        a="date=2026-11-01/hour=07/price=1",
        b="date=2026-11-02/hour=8/price=2.5",
        c="date=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__/price=3",
    )
    features = [Categorical("date", vocabulary="adapt"), Categorical("hour", num_ids=24), Numeric("price")]
    schema = Schema([*AGE.features, *features], AGE.tasks)
    for shuffle in (0, 4):
        rows = [
            (float(age), day.decode(), int(hour), float(price), float(click))
            for x, y in read(source, schema, batch_size=3, shuffle=shuffle, seed=1)
            for age, day, hour, price, click in zip(
                *(x[name].numpy() for name in ("age", "date", "hour", "price")), y["click"].numpy(), strict=True
            )
        ]
        days = {0: ("2026-11-01", 7, 1.0), 1: ("2026-11-02", 8, 2.5), 2: ("", -1, 3.0)}
        assert sorted(rows) == [(age + part, *days[age], part > 0.5) for age in days for part in (0.25, 0.75)]


def test_a_folders_name_is_what_the_schema_says(tmp_path):
    source = in_folders(tmp_path, a="zone=01/group%20name=a%3Db", b="zone=2/group%20name=c")
    text = Schema([Categorical("zone", vocabulary=("01", "2"))], AGE.tasks)
    assert column(source, text, "zone") == [b"01", b"01", b"2", b"2"]
    assert column(source, AGE, "zone", columns=("zone",)) == [1, 1, 2, 2]
    assert column(source, AGE, "group name", columns=("group name",)) == [b"a=b", b"a=b", b"c", b"c"]
    y = read(source, Schema(AGE.features, [Task("first", label=("zone", 1))]), batch_size=4)
    assert next(iter(y))[1]["first"].numpy().tolist() == [1, 1, 0, 0]


def test_a_file_that_has_the_column_is_believed(tmp_path):
    assert column(in_folders(tmp_path, a="age=7"), AGE, "age") == [0.25, 0.75]


def test_adapts_to_names_of_folders(tmp_path):
    schema = Schema([Categorical("zone", vocabulary="adapt")], AGE.tasks)
    source = in_folders(tmp_path, a="zone=n", b="zone=s")
    assert adapt(schema, read(source, schema, batch_size=2)).feature("zone").vocabulary == ("n", "s")


def test_says_what_a_folders_name_cannot_be(tmp_path):
    source = in_folders(tmp_path / "mixed", a="zone=north", b="zone=2")
    for feature, needed in (
        (Numeric("zone"), "numbers. Received: string"),
        (Categorical("zone", num_ids=3), "integers. Received: string"),
        (Sequence("h", (Categorical("zone", num_ids=3),), length=2, prefix=""), "lists of integers. Received: int64"),
    ):
        with pytest.raises(ValueError, match=f"'zone' must hold {needed}"):
            read(source, Schema([feature], AGE.tasks), batch_size=1)
    with pytest.raises(ValueError, match=r"mixed/zone=north/rows.parquet: column 'zone'"):
        read(source, Schema([Numeric("zone")], AGE.tasks), batch_size=1)
    both = Schema([Categorical("zone", vocabulary="adapt")], [Task("click", sample_space=("zone", "02"))])
    with pytest.raises(ValueError, match="'zone' of the folders' names is used both as text and as a number"):
        read(in_folders(tmp_path / "both", a="zone=01", b="zone=02"), both, batch_size=1)
    (tmp_path / "flat").mkdir()
    pa_parquet.write_table(pa.table({"age": [1.0], "click": [1]}), tmp_path / "flat" / "rows.parquet")
    with pytest.raises(ValueError, match=r"flat/rows.parquet: columns \['zone'\] are missing"):
        read([source, tmp_path / "flat"], AGE, batch_size=1, columns=("zone",))


def test_views_of_text_are_text(tmp_path):
    """What Polars hands on."""
    schema = Schema(
        [Categorical("city", vocabulary="adapt"), Sequence("h", (Categorical("kind", vocabulary="adapt"),), length=2)],
        [Task("click", label=("state", "yes"))],
    )
    words = pa.DictionaryArray.from_arrays(pa.array([0, None, 0], pa.uint32()), pa.array(["yes"], pa.string_view()))
    table = pa.table(
        {
            "city": pa.array(["a", None, "b"], pa.string_view()),
            "h_kind": pa.array([["x", "y"], None, [None, "z"]], pa.large_list(pa.string_view())),
            "state": words,
        }
    )
    pa_parquet.write_table(
        table.drop_columns("state").append_column("state", pa.array(["yes", None, "yes"])), tmp_path / "rows.parquet"
    )
    for source in (table, tmp_path / "rows.parquet"):
        x, y = next(iter(read(source, schema, batch_size=3)))
        assert x["city"].numpy().tolist() == [b"a", b"", b"b"]
        assert x["h_kind"].numpy().tolist() == [[b"x", b"y"], [b"", b""], [b"z", b""]]
        np.testing.assert_array_equal(y["click"], [1, NAN, 1])


@pytest.mark.parametrize("form", ["table", "parquet"])
def test_names_the_row_of_an_id_that_is_too_large(tmp_path, form):
    codes = np.arange(40, dtype="uint64")
    codes[33] = 2**63
    lists = pa.array([[code] for code in codes.tolist()], pa.list_(pa.uint64()))
    history = Schema([Sequence("h", (Categorical("code", num_ids=9),), length=2)], [CLICK])
    table = pa.table({"code": codes, "h_code": lists, "click": [1] * 40})
    source, name = table, "Table"
    if form == "parquet":
        source = tmp_path / "rows.parquet"
        name = str(source)
        pa_parquet.write_table(table, source, row_group_size=15)
    for schema, column, value in ((CODE, "code", "9223372036854775808"), (history, "h_code", r"[9223372036854775808]")):
        text = message_of(read(source, schema, batch_size=2))
        assert f"{name}: row 33: column '{column}' must fit into " in text
        assert f"Received: {value}" in text
        assert "not a readable" not in text


@pytest.mark.parametrize("shuffle", [False, 20])
def test_numbers_of_another_type_in_every_other_file(tmp_path, shuffle):
    """Rows keep their place among files, and numbers may be too large for an exact float."""
    values = {
        0: pa.array([2**60 + 1] * 25),
        1: pa.array([0.5] * 25),
        2: pa.array([7] * 25, pa.int8()),
        3: pa.array([2**64 - 1] * 25, pa.uint64()),
    }
    for n in range(8):
        table = pa.table({"age": values[n % 4], "row": np.arange(25 * n, 25 * n + 25), "click": [True] * 25})
        pa_parquet.write_table(table, tmp_path / f"{n}.parquet", row_group_size=10)
    wanted = np.array([2.0**60, 0.5, 7, 2.0**64], "float32")
    for shard in ((0, 1), (1, 2)):
        batches = list(read(tmp_path, AGE, batch_size=7, columns=("row",), shuffle=shuffle, seed=0, shard=shard))
        rows = np.concatenate([x["row"] for x, _ in batches])
        np.testing.assert_array_equal(np.concatenate([x["age"] for x, _ in batches]), wanted[rows // 25 % 4])
        assert sorted(rows) == list(range(100 * shard[0], 200))
        assert shuffle or list(rows) == sorted(rows)


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint16(), pa.uint64(), pa.float16(), pa.float32(), pa.bool_(), pa.decimal128(21, 2)], ids=str
)
def test_numbers_and_labels_of_any_type(kind):
    values = pa.array([1, None, 0]).cast(kind)
    lists = pa.FixedSizeListArray.from_arrays(pa.concat_arrays([values, values]), 2)
    schema = Schema([Numeric("age"), Numeric("pair", size=2)], [CLICK])
    x, y = next(iter(read(pa.table({"age": values, "pair": lists, "click": values}), schema, batch_size=3)))
    np.testing.assert_array_equal(x["age"], [1, NAN, 0])
    np.testing.assert_array_equal(x["pair"], [[1, NAN], [0, 1], [NAN, 0]])
    np.testing.assert_array_equal(y["click"], [1, NAN, 0])


def test_line_breaks_in_quotes_beyond_one_block(tmp_path):
    path = tmp_path / "rows.csv"
    with open(path, "w") as file:
        file.write("note,age,click\n")
        for n in range(90_000):
            file.write(f'"two lines of a note\nwhich is long enough to fill a block of the file, {n}",{n},1\n')
    assert path.stat().st_size > 6 << 20
    ages = np.concatenate([x["age"] for x, _ in read(path, AGE, batch_size=10_000).as_numpy_iterator()])
    np.testing.assert_array_equal(ages, np.arange(90_000))


def test_csv_takes_true_and_false_as_numbers(tmp_path):
    (tmp_path / "1.csv").write_text("age,member,click\n1,True,true\n2,,False\n")
    (tmp_path / "2.csv").write_text("age,member,click\n0.5,1,0\n")
    schema = Schema([Numeric("age"), Numeric("member")], [CLICK])
    x, y = next(iter(read(tmp_path, schema, batch_size=3)))
    np.testing.assert_array_equal(x["age"], [1, 2, 0.5])
    np.testing.assert_array_equal(x["member"], [1, NAN, 1])
    np.testing.assert_array_equal(y["click"], [1, 0, 0])
    (tmp_path / "3.csv").write_text("age,member,click\n0.5,1,0\n1,2.5,0\n")
    with pytest.raises(ValueError, match=r"3.csv: column 'member': row 1: .*invalid value '2.5'"):
        read(tmp_path, schema, batch_size=3)


def test_a_dict_of_columns():
    schema = Schema([Numeric("age"), Numeric("pair", size=2), Categorical("city", vocabulary="adapt")], [CLICK])
    source = {
        "age": np.array([1, NAN]),
        "pair": np.array([[1, 2], [3, NAN]], "float32"),
        "city": ["a", None],
        "click": pd.Series([1, 0]),
        "unused": object(),
    }
    x, y = next(iter(read(source, schema, batch_size=2)))
    np.testing.assert_array_equal(x["age"], [1, NAN])
    np.testing.assert_array_equal(x["pair"], [[1, 2], [3, NAN]])
    assert x["city"].numpy().tolist() == [b"a", b""]
    np.testing.assert_array_equal(y["click"], [1, 0])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"age": [1.0]}, r"dict: columns \['click'\] are missing. Received: \['age'\]"),
        ({"age": [1.0], "click": [1, 0]}, r"dict: .*'?click'? expected length 1 but got length 2"),
        ({"age": [1.0, "a"], "click": [1, 0]}, "dict: column 'age' must be a list or an array of one type. Received: "),
        ({"age": 7, "click": [1]}, "dict: column 'age' must be a list or an array"),
        ({"age": np.zeros((1, 1, 1)), "click": [1]}, "dict: column 'age' must be a list or an array"),
        ({"age": ["1"], "click": [1]}, "dict: column 'age' must hold numbers. Received: string"),
    ],
)
def test_names_what_is_wrong_in_a_dict(source, message):
    with pytest.raises(ValueError, match=message):
        read(source, AGE, batch_size=1)


def test_ids_with_gaps_stay_apart():
    """pandas makes floats of them; above 2^24 float32 has no room between neighbours."""
    users = [100000001.0, 100000002.0, None]
    rows = pd.DataFrame({"age": [1.0, 2.0, 3.0], "click": [1, 0, 1], "user_id": users})
    np.testing.assert_array_equal(column(rows, AGE, "user_id", columns=("user_id",)), [*users[:2], NAN])


def test_a_pattern_of_folders(tmp_path):
    source = in_folders(tmp_path, a="zone=1/part=a", b="zone=2/part=a", c="zone=2/part=b")
    assert column(f"{source}/*/part=a", AGE, "zone", columns="zone") == [1, 1, 2, 2]
    with pytest.raises(FileNotFoundError, match="no file to read"):
        read(f"{source}/*/part=z", AGE, batch_size=1)


def test_a_pattern_of_files_and_folders(tmp_path):
    """Old days in a file each, new ones in folders."""
    in_folders(tmp_path, a="2026-11-02", b="2026-11-03", c="2026-11-03/_temporary")
    pa_parquet.write_table(pa.table({"age": [9.0], "click": [1]}), tmp_path / "2026-11-01.parquet")
    assert column(f"{tmp_path}/2026-11-*", AGE, "age") == [9.0, 0.25, 0.75, 1.25, 1.75]
    assert column(f"{tmp_path}/**/*.parquet", AGE, "age") == [9.0, 0.25, 0.75, 1.25, 1.75]
    assert column(f"{tmp_path}/2026-11-03/_temporary/*", AGE, "age") == [2.25, 2.75]  # spelled by the caller


def test_links_are_followed_once(tmp_path):
    in_folders(tmp_path, a="log/day=1", b="elsewhere")
    (tmp_path / "log" / "day=2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "log" / "day=3").symlink_to(tmp_path / "log")  # back to itself
    assert column(tmp_path / "log", AGE, "age") == [0.25, 0.75, 1.25, 1.75]
    with pytest.raises(ValueError, match="twice"):
        read([tmp_path / "elsewhere", tmp_path / "log" / "day=2"], AGE, batch_size=2)


def test_files_of_unknown_format_in_a_folder_are_named(tmp_path):
    in_folders(tmp_path, a="day")
    (tmp_path / "day" / "_SUCCESS").touch()
    (tmp_path / "day" / "rows.csv.bz2").touch()
    with pytest.warns(UserWarning, match=r"not read: \['.*rows.csv.bz2'\], 1 in all"):
        assert column(tmp_path, AGE, "age") == [0.25, 0.75]


@pytest.mark.parametrize("form", ["dict", ".parquet"])
def test_labels_tell_large_integers_apart(tmp_path, form):
    large = 2**53
    rows = pa.table(
        {"age": [1.0, 2, 3, 4], "click": [1, 0, 1, 0], "camp": pa.array([large, large + 1, large + 2, None])}
    )
    if form == ".parquet":
        pa_parquet.write_table(rows, tmp_path / "rows.parquet")
    tasks = [Task("click", sample_space=("camp", large + 1)), Task("own", label=("camp", large + 1))]
    source = tmp_path / "rows.parquet" if form == ".parquet" else rows
    ((_, y),) = read(source, Schema(AGE.features, tasks), batch_size=4)
    np.testing.assert_array_equal(y["click"].numpy().ravel(), [NAN, 0, NAN, NAN])
    np.testing.assert_array_equal(y["own"].numpy().ravel(), [0, 1, 0, NAN])


def test_labels_compare_in_the_columns_own_type():
    schema = Schema(AGE.features, [Task("tenth", label=("price", 0.1)), Task("paid", "regression", label="price")])
    ((_, y),) = read({"age": [1.0, 2], "price": np.array([0.1, 0.2], "float32")}, schema, batch_size=2)
    assert y["tenth"].numpy().ravel().tolist() == [1, 0]
    np.testing.assert_array_equal(y["paid"].numpy().ravel(), np.array([0.1, 0.2], "float32"))


def test_a_value_beyond_float32_is_no_regression_label():
    schema = Schema(AGE.features, [Task("paid", "regression")])
    assert "finite" in message_of(read({"age": [1.0], "paid": [1e40]}, schema, batch_size=1))


@pytest.mark.parametrize("order", [1, -1])
def test_extra_columns_of_mixed_numbers_are_refused_in_any_order(tmp_path, order):
    kinds = [pa.array([1.0, None]), pa.array([2**53, 2**53 + 1])]
    for name, session in zip("ab", kinds[::order], strict=True):
        table = pa.table({"age": [1.0, 2], "click": [0, 1], "session": session})
        pa_parquet.write_table(table, tmp_path / f"{name}.parquet")
    with pytest.raises(ValueError, match="'session' must hold"):
        column(tmp_path, AGE, "session", columns=("session",))


def test_a_file_without_values_does_not_decide_a_type(tmp_path):
    schema = Schema([Categorical("user", vocabulary="adapt")], [CLICK])
    for name, users in (("1", pa.nulls(2)), ("2", pa.array([5, 7]))):
        pa_parquet.write_table(pa.table({"user": users, "click": [0, 1]}), tmp_path / f"{name}.parquet")
    assert column(tmp_path, schema, "user") == [-1, -1, 5, 7]


@pytest.mark.parametrize(
    ("feature", "values", "message"),
    [
        (Categorical("c", vocabulary="adapt"), [1.0, NAN], "strings or integers. Received: double .*'Int64'"),
        (Categorical("c", hash_buckets=9), [1, 2], 'strings. Received: int64 .*dtype="int64"'),
    ],
)
def test_says_how_ids_must_come(feature, values, message):
    with pytest.raises(ValueError, match=message):
        read({"c": values, "click": [0, 1]}, Schema([feature], [CLICK]), batch_size=2)

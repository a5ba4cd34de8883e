"""Columns that are called or typed in other ways than features expect."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import tensorflow as tf

import tfmtl
from tfmtl.data import Preprocessor, adapt, read
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

TABLE = pa.table(
    {
        "hours-per-week": [40, 20],
        "class": ["a", "b"],
        "用户": ["x", "y"],
        "price €": [1.5, 2.0],
        "new?": [True, None],
        "genres": ["action|drama", ""],
        "seen": ["3|7", "3||8 "],
        "click": [1, 0],
    }
)
SCHEMA = Schema(
    [
        Categorical("hours", column="hours-per-week", vocabulary="adapt", dim=4),
        Categorical("kind", column="class", vocabulary="adapt", dim=4),
        Categorical("user", column="用户", vocabulary="adapt", dim=4, side="user"),
        Numeric("price", column="price €", transform=None),
        Categorical("is_new", column="new?", num_ids=2, dim=4),
        Sequence(
            "film", [Categorical("genres", vocabulary="adapt", dim=4)], prefix="", length=3, separator="|", side="item"
        ),
        Sequence(
            "past", [Categorical("seen", vocabulary="adapt", dtype="int64", dim=4)], prefix="", length=3, separator="|"
        ),
    ],
    [Task("click")],
)
ENCODED = {
    "hours": [2, 1],
    "kind": [1, 2],
    "user": [1, 2],
    "price": [1.5, 2.0],
    "is_new": [2, 0],
    "genres": [[1, 2, 0], [0, 0, 0]],
    "film_mask": [[1, 1, 0], [0, 0, 0]],
    "seen": [[1, 2, 0], [1, 3, 0]],
    "past_mask": [[1, 1, 0], [1, 1, 0]],
}


def forms(folder):
    yield TABLE
    yield TABLE.to_pandas()
    yield TABLE.to_pydict()
    pa.parquet.write_table(TABLE, folder / "rows.parquet")
    yield folder / "rows.parquet"
    pa.csv.write_csv(TABLE, folder / "rows.csv")
    yield folder / "rows.csv"


def test_every_form_is_read_alike(tmp_path):
    for source in forms(tmp_path):
        schema = adapt(SCHEMA, read(source, SCHEMA, batch_size=2))
        x, _ = next(iter(read(source, schema, batch_size=2, encode=True)))
        assert {name: values.numpy().tolist() for name, values in x.items()} == ENCODED, type(source)
    assert Schema.from_json(schema.to_json()) == schema


def test_an_export_takes_the_texts_and_plain_names(tmp_path):
    schema = adapt(SCHEMA, read(TABLE, SCHEMA, batch_size=2))
    model = tfmtl.models.single_task(schema, units=(4,), tower_units=())
    version = tfmtl.export(model, tmp_path / "model", schema, examples=read(TABLE, schema, batch_size=2))
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    raw = {name: values[:1] for name, values in next(iter(read(TABLE, schema, batch_size=2)))[0].items()}
    raw["seen"] = tf.constant([" 3 |not one|7"])  # an unknown id, no error
    expected = Preprocessor(schema.features)({**raw, "seen": ["3|99|7"]})
    np.testing.assert_allclose(served(**raw)["click"], model(expected)["click"], atol=1e-6)


def test_a_label_behind_an_alias_is_no_feature():
    with pytest.raises(ValueError, match="also a feature"):
        Schema([Categorical("seen", column="click", num_ids=2)], [Task("click")])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seen": ["3|x", ""]}, r"row 0: column 'seen' must hold integers with '\|' between them. Received: '3\|x'"),
        ({"seen": ["3", "9223372036854775808"]}, r"row 1: column 'seen'.*9223372036854775808"),
        ({"seen": [[3], [4]]}, r"column 'seen' must hold texts of ids with '\|' between them.*`separator`"),
        ({"genres": [1, 2]}, r"column 'genres' must hold texts of ids"),
    ],
)
def test_texts_that_hold_no_ids_are_refused(given, message):
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        list(read(TABLE.to_pydict() | given, SCHEMA, batch_size=2))


def test_the_largest_integers_are_ids():
    ids = (2**63 - 1, -(2**63) + 1, 9_100_000_000_000_000_000)
    field = Categorical("seen", vocabulary=ids)
    schema = Schema([Sequence("past", [field], prefix="", length=3, separator=", ")], [Task("click")])
    x = {"seen": [", ".join(map(str, ids))]}
    assert Preprocessor(schema.features)(x)["seen"].numpy().tolist() == [[1, 2, 3]]


def test_columns_of_a_history_are_split_alike():
    fields = [Categorical("film", vocabulary=("a", "b")), Categorical("year", vocabulary=(1999, 2000))]
    schema = Schema([Sequence("seen", fields, length=3, separator="|")], [Task("click")])
    encode = Preprocessor(schema.features)
    x = encode({"seen_film": ["a|b", ""], "seen_year": ["1999|2001", ""]})
    assert x["seen_year"].numpy().tolist() == [[1, 0, 0], [0, 0, 0]] and x["seen_mask"].numpy().sum() == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="equally long"):
        encode({"seen_film": ["a|b"], "seen_year": ["1999"]})


IDS = Schema([Categorical("id", vocabulary="adapt", dtype="int64")], [Task("click")])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([True, False, None]), [1, 0, -1]),
        (pa.array([Decimal(7), Decimal(2**62), None], pa.decimal128(38, 0)), [7, 2**62, -1]),
        (pd.Series([True, False, None], dtype="boolean"), [1, 0, -1]),
    ],
)
def test_booleans_and_whole_decimals_are_ids(values, expected):
    for schema in (IDS, Schema([Categorical("id", vocabulary="adapt")], [Task("click")])):
        x, _ = next(iter(read({"id": values, "click": [1, 0, 1]}, schema, batch_size=3)))
        assert x["id"].numpy().tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pd.to_datetime(["2026-11-01"]), "an hour or a weekday as ids"),
        (pa.array([Decimal("1.50")]), "cast decimals to int64, or to text"),
        (pa.array([[1]]), "a `Sequence`"),
        (pa.array([1.5]), "'Int64'"),
    ],
)
def test_what_is_no_id_says_what_to_make_of_it(values, message):
    with pytest.raises(ValueError, match=f"column 'id' must hold .*{message}"):
        read({"id": values, "click": [1]}, IDS, batch_size=1)
    if "hour" in message:
        with pytest.raises(ValueError, match=r"days or seconds as numbers"):
            read({"id": values, "click": [1]}, Schema([Numeric("id")], [Task("click")]), batch_size=1)


OPTIONAL = Schema(
    [
        Categorical("city", vocabulary=("Oslo",)),
        Categorical("code", column="a code", num_ids=5),
        Numeric("age", transform=None),
        Sequence("tags", [Categorical("tag", vocabulary=("a", "b"))], prefix="", length=2),
    ],
    [Task("click")],
)
NEW = {"city": ["Oslo"], "a code": [3], "age": [7.0], "tag": [["a"]], "click": [1]}


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_an_older_file_may_lack_columns(tmp_path, suffix):
    schema = OPTIONAL if suffix == "parquet" else Schema(OPTIONAL.features[:3], OPTIONAL.tasks)
    write = {"parquet": pa.parquet.write_table, "csv": pa.csv.write_csv}[suffix]
    new = pa.table(NEW if suffix == "parquet" else {k: v for k, v in NEW.items() if k != "tag"})
    write(pa.table({"click": [0]}), tmp_path / f"a.{suffix}")
    write(new, tmp_path / f"b.{suffix}")
    with pytest.raises(ValueError, match=r"a\..*columns \['city', 'a code', 'age'.* are missing"):
        read(tmp_path, schema, batch_size=2)
    for source, rows in ((tmp_path, 2), (tmp_path / f"a.{suffix}", 1)):
        (x, _), *_ = read(source, schema, batch_size=2, optional=schema.feature_columns)
        assert x["city"].numpy().tolist() == [b"", b"Oslo"][:rows] and x["code"].numpy().tolist() == [-1, 3][:rows]
        np.testing.assert_equal(x["age"].numpy(), np.array([np.nan, 7.0])[:rows])
        if suffix == "parquet":
            assert x["tag"].numpy().tolist() == [[b"", b""], [b"a", b""]][:rows]


def test_tables_and_records_may_lack_columns(tmp_path):
    x, _ = next(iter(read({"click": [1]}, OPTIONAL, batch_size=1, optional=OPTIONAL.feature_columns)))
    assert x["code"].numpy().tolist() == [-1] and x["tag"].numpy().tolist() == [[b"", b""]]
    record = tf.train.Example()
    record.features.feature["click"].int64_list.value.append(1)
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(record.SerializeToString())
    x, _ = next(iter(read(tmp_path, OPTIONAL, batch_size=1, optional=OPTIONAL.feature_columns)))
    assert x["code"].numpy().tolist() == [-1] and x["city"].numpy().tolist() == [b""] and np.isnan(x["age"]).all()


def test_optional_columns_are_known_ones():
    with pytest.raises(ValueError, match=r"`optional` must name columns of features. Received: \['a code'\]; known"):
        read(NEW, OPTIONAL, batch_size=1, optional="a code")


def test_text_without_a_mark_is_text(tmp_path):
    schema = Schema([Categorical("city", vocabulary="adapt")], [Task("click", label=("city2", "Rome"))])
    for number, kind in enumerate((pa.binary(), pa.large_binary(), pa.binary(4), pa.string(), pa.large_string())):
        cities = pa.array([b"Oslo", b"Rome", None], pa.binary()).cast(pa.binary() if kind == pa.binary(4) else kind)
        cities = pa.array([b"Oslo", b"Rome", None], kind) if kind == pa.binary(4) else cities
        pa.parquet.write_table(pa.table({"city": cities, "city2": cities}), tmp_path / f"{number}.parquet")
        x, y = next(iter(read(tmp_path / f"{number}.parquet", schema, batch_size=3)))
        assert x["city"].numpy().tolist() == [b"Oslo", b"Rome", b""]
        np.testing.assert_equal(y["click"].numpy(), [0, 1, np.nan])
    x, _ = next(iter(read(tmp_path, schema, batch_size=15)))  # all of them as one
    assert x["city"].numpy().tolist() == [b"Oslo", b"Rome", b""] * 5


ANY = [b"ab\x00", b"cd", b"ab", b"\xff\xfe\x00", b"\x00"]


def test_encoding_is_one_to_one_over_any_bytes(tmp_path):
    fresh = Schema([Categorical("city", vocabulary="adapt")], [Task("click")])
    pa.parquet.write_table(pa.table({"city": pa.array(ANY), "click": [1, 0, 1, 0, 1]}), tmp_path / "rows.parquet")
    sources = [[{"city": tf.constant(ANY)}], [{"city": ANY}], read(tmp_path / "rows.parquet", fresh, batch_size=2)]
    for source in sources:
        schema = adapt(fresh, source)
        assert len(schema.feature("city").vocabulary) == 5
        for form in (schema, Schema.from_json(schema.to_json().encode().decode())):
            rows = Preprocessor(form.features)({"city": tf.constant(ANY)})["city"].numpy().tolist()
            assert sorted(rows) == [1, 2, 3, 4, 5]
    text = Schema([Categorical("city", vocabulary=("ab\x00", "cd"))], [Task("click")])
    assert Preprocessor(text.features)({"city": tf.constant(ANY)})["city"].numpy().tolist() == [1, 2, 0, 0, 0]


def test_a_model_of_such_ids_is_exported(tmp_path):
    schema = adapt(Schema([Categorical("city", vocabulary="adapt", dim=4)], [Task("click")]), [{"city": ANY}])
    model = tfmtl.models.single_task(schema, units=(4,), tower_units=())
    version = tfmtl.export(model, tmp_path / "model", schema, examples={"city": ANY})
    served = tf.saved_model.load(str(version)).signatures["serving_default"](city=tf.constant(ANY))["click"]
    np.testing.assert_allclose(served, model(Preprocessor(schema.features)({"city": ANY}))["click"], atol=1e-6)
    assert len(set(served.numpy().ravel().tolist())) == 5

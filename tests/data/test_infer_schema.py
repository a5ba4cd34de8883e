"""A first schema of a table."""

import datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from tfmtl.data import adapt, infer_schema, read
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

ROWS = 300
TABLE = pa.table(
    {
        "user id": [10**12 + i for i in range(ROWS)],
        "user_id": [f"u{i % 7}" for i in range(ROWS)],
        "class": pa.array([["a", "b", None][i % 3] for i in range(ROWS)]).dictionary_encode(),
        "2nd": [i % 5 for i in range(ROWS)],
        "clicks": list(range(ROWS)),
        "price": [i / 7 for i in range(ROWS)],
        "cost": [Decimal(i) / 2 for i in range(ROWS)],
        "is_new": [i % 2 == 0 for i in range(ROWS)],
        "genres": ["action|drama" if i % 3 else "drama" for i in range(ROWS)],
        "seen": [list(range(i % 4)) for i in range(ROWS)],
        "vector": [[1.0, i / 2] for i in range(ROWS)],
        "at": [datetime.datetime(2026, 11, 1)] * ROWS,
        "one": ["x"] * ROWS,
        "nothing": pa.nulls(ROWS),
        "click": [i % 2 for i in range(ROWS)],
        "buy": [i % 2 for i in range(ROWS)],
    }
)
TASKS = [Task("buy", sample_space="click")]


def test_every_type_gets_its_feature():
    with pytest.warns(UserWarning, match=r"No feature .*'at \(timestamp.*'one \(string\)', 'nothing \(null\)'\]"):
        schema = infer_schema(TABLE, TASKS, dim=4)
    assert schema == Schema(
        [
            Categorical("user_id", column="user id", vocabulary="adapt", dtype="int64", dim=4),
            Categorical("user_id_2", column="user_id", vocabulary="adapt", dtype="string", dim=4),
            Categorical("column_class", column="class", vocabulary="adapt", dtype="string", dim=4),
            Categorical("column_2nd", column="2nd", vocabulary="adapt", dtype="int64", dim=4),
            Numeric("clicks", transform="buckets", dim=4),
            Numeric("price", transform="buckets", dim=4),
            Numeric("cost", transform="buckets", dim=4),
            Categorical("is_new", num_ids=2, dim=4),
            Sequence(
                "genres",
                [Categorical("genres", vocabulary="adapt", dtype="string", dim=4)],
                prefix="",
                length=2,
                separator="|",
            ),
            Sequence("seen", [Categorical("seen", vocabulary="adapt", dtype="int64", dim=4)], prefix="", length=3),
            Numeric("vector", size=2, dim=4),
        ],
        TASKS,
    )


def test_what_it_proposes_can_be_read_and_learned(tmp_path):
    plain = TABLE.drop_columns(["at", "one", "nothing"])
    pa.parquet.write_table(plain, tmp_path / "rows.parquet")
    pa.csv.write_csv(plain.drop_columns(["seen", "vector"]), tmp_path / "rows.csv")
    for source in (plain, plain.to_pandas(), tmp_path / "rows.parquet", tmp_path / "rows.csv"):
        schema = infer_schema(source, TASKS, leave_out=["clicks"], rows=200)
        adapted = adapt(schema, read(source, schema, batch_size=64))
        x, _ = next(iter(read(source, adapted, batch_size=64, encode=True)))
        assert "clicks" not in x and x["genres"].shape == (64, 2), source


def test_numbers_beside_ids_are_their_weights(tmp_path):
    """Also where most rows have none, and where empty texts are most."""
    tags, scores = ["a|b", "c|a", "", "", "b"] * 20, ["0.5|2", "", "", "", ".25"] * 20
    table = {"tags": tags, "scores": scores, "other": ["1.5", "1|2", "3", "4", "5"] * 20}
    table |= {"likes": ["x:1|b:2.5", "", "x:3", "", "b:1"] * 20, "click": [0, 1] * 50}
    pa.csv.write_csv(pa.table(table), tmp_path / "rows.csv")
    with pytest.warns(UserWarning, match=r"No feature .*numbers of several lengths: \['other \(string\)'\]"):
        schema = infer_schema(tmp_path / "rows.csv", [Task("click")], dim=4)

    def texts(name, **options):
        field = Categorical(name, vocabulary="adapt", dtype="string", dim=4)
        return Sequence(name, [field], prefix="", length=2, separator="|", **options)

    assert schema.features == (texts("tags", weights="scores"), texts("likes", weight_separator=":"))
    adapted = adapt(schema, read(tmp_path / "rows.csv", schema, batch_size=50))
    x, _ = next(iter(read(tmp_path / "rows.csv", adapted, batch_size=5, encode=True)))
    assert x["scores"].numpy().tolist() == [[0.5, 2], [1, 1], [0, 0], [0, 0], [0.25, 0]]
    lists = {"seen": [[1], [], [2, 3]], "dwell": [[0.5], [], [1.0, 2.0]], "click": [0, 1, 0]}
    (seen,) = infer_schema(lists, [Task("click")]).features
    assert seen.weights == "dwell"


def test_a_table_without_rows_is_refused_in_words():
    empty = pa.table({"text": pa.array([], pa.string()), "click": pa.array([], pa.int64())})
    with pytest.raises(ValueError, match="there is no row"):
        infer_schema(empty, [Task("click")])


def test_columns_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"Columns \['b'\] are missing"):
        infer_schema({"a": [1, 2]}, [Task("b")])
    with pytest.raises(ValueError, match="one feature and one task"):
        infer_schema({"b": [1, 2]}, [Task("b")])

"""What several workers read of the same rows."""

import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import tensorflow as tf

from tfmtl.data import adapt, read
from tfmtl.schema import Numeric, Schema, Task

SCHEMA = Schema([Numeric("age", transform=None)], [Task("click")])
TABLE = pa.table({"age": [float(i) for i in range(41)], "click": [0, 1] * 20 + [0]})


@pytest.mark.parametrize("form", ["table", "parquet", "csv"])
def test_a_shard_does_not_say_how_many_batches_it_has(tmp_path, form):
    """A strategy cuts batches again, for its workers, and would stop after as many as the shard has itself."""
    source = TABLE
    if form != "table":
        write = pa.parquet.write_table if form == "parquet" else pa.csv.write_csv
        write(TABLE, tmp_path / f"rows.{form}")
        source = tmp_path / f"rows.{form}"
    parts = [read(source, SCHEMA, batch_size=4, shard=(i, 2)) for i in range(2)]
    assert all(part.cardinality() == tf.data.UNKNOWN_CARDINALITY for part in parts)
    seen = sorted(age for part in parts for x, _ in part for age in x["age"].numpy())
    assert seen == TABLE["age"].to_pylist()
    if form != "csv":
        assert read(source, SCHEMA, batch_size=4).cardinality() == 11


def workers(monkeypatch, **cluster):
    config = {"cluster": cluster, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))


@pytest.mark.parametrize("rows", [40, 41, 37])
@pytest.mark.parametrize("drop_remainder", [False, True])
def test_workers_take_equally_many_steps(monkeypatch, rows, drop_remainder):
    """As many as a strategy makes of the fuller shard; a worker that has run out takes part in the last one without rows."""
    workers(monkeypatch, worker=["a:1", "b:1"])
    parts = [read(TABLE[:rows], SCHEMA, batch_size=4, shard=(i, 2), drop_remainder=drop_remainder) for i in range(2)]
    pieces = [[-(-len(x["age"]) // 2) for x, _ in part for _ in range(2)] for part in parts]  # what a strategy cuts
    told = {int(part.cardinality()) for part in parts}
    filled = max(
        sum(1 for x, _ in part for start in (0, -(-len(x["age"]) // 2)) if start < len(x["age"])) for part in parts
    )
    assert told == {filled} and all(len(each) >= filled for each in pieces)
    if not drop_remainder:
        seen = sorted(age for part in parts for x, _ in part for age in x["age"].numpy())
        assert seen == TABLE["age"][:rows].to_pylist()


def test_batches_without_a_row_change_nothing(monkeypatch):
    from tfmtl.models import single_task
    from tfmtl.training import evaluate

    def learned(shard):
        schema = adapt(SCHEMA, read(TABLE, SCHEMA, batch_size=4, shard=shard), verbose=0)
        model = single_task(schema, units=(2,))
        figures = evaluate(model, read(TABLE, schema, batch_size=4, shard=shard, encode=True), schema, verbose=0)
        return schema, figures["click_rows"]

    alone = learned((0, 2))
    workers(monkeypatch, worker=["a:1", "b:1"])
    assert learned((0, 2)) == alone


def test_workers_shuffle_their_own_shards_only(monkeypatch):
    workers(monkeypatch, worker=["a:1", "b:1"])
    with pytest.raises(ValueError, match=r"2 workers train together.*`shard=\(1, 2\)`"):
        read(TABLE, SCHEMA, batch_size=4, shuffle=True)
    read(TABLE, SCHEMA, batch_size=4, shuffle=True, shard=(1, 2))
    read(TABLE, SCHEMA, batch_size=4)


@pytest.mark.parametrize(
    "cluster", [{}, {"worker": ["a:1"]}, {"worker": ["a:1", "b:1"], "ps": ["c:1"], "chief": ["d:1"]}]
)
def test_one_worker_and_parameter_servers_shuffle_as_ever(monkeypatch, cluster):
    workers(monkeypatch, **cluster)
    ages = [age for x, _ in read(TABLE, SCHEMA, batch_size=4, shuffle=True) for age in x["age"].numpy().tolist()]
    assert sorted(ages) == sorted(TABLE["age"].to_pylist())


def test_too_few_rows_for_one_batch_are_refused():
    with pytest.raises(ValueError, match=r"leaves no batch of 20 rows. Received: batch_size=21, shard=\(0, 2\)"):
        read(TABLE, SCHEMA, batch_size=21, drop_remainder=True, shard=(0, 2))


def test_a_file_that_became_shorter_is_named(tmp_path):
    pa.parquet.write_table(TABLE, tmp_path / "a.parquet")
    rows = read(tmp_path, SCHEMA, batch_size=4)
    pa.parquet.write_table(TABLE[:3], tmp_path / "a.parquet")
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"a.parquet: the file changed while it was read: row 3 is gone"
    ):
        list(rows)

"""A folder as Spark writes it, in its older, still usual form: partitions, marks, checksums, INT96, decimals, nested lists."""

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tfmtl.data import adapt, infer_schema, read
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

TASKS = [Task("click"), Task("bought")]
PARTITIONS = {"NO": 10, "SE": 8, "__HIVE_DEFAULT_PARTITION__": 6}  # in the order in which they are read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("spark") / "rows.parquet"  # Spark calls folders so
    first = 0
    for number, (country, count) in enumerate(PARTITIONS.items()):
        write_part(root / "date=2026-11-01" / f"country={country}", number, range(first, first + count))
        first += count
    (root / "_SUCCESS").touch()
    (root / "._SUCCESS.crc").write_bytes(b"crc\0")
    return root


def write_part(folder, number, rows):
    minute = datetime.timedelta(minutes=1)
    columns = {
        "user_id": pa.array([row % 7 for row in rows], pa.int64()),
        "at": pa.array([datetime.datetime(2026, 11, 1) + row * minute for row in rows], pa.timestamp("ns")),
        "seen_item": pa.array(
            [[row % 5, 3] if row % 3 else [] for row in rows], pa.list_(pa.field("element", pa.int64()))
        ),
        "price": pa.array([Decimal(row) / 4 if row % 5 else None for row in rows], pa.decimal128(10, 2)),
        "item_key": pa.array(
            [Decimal(row % 4) for row in rows], pa.decimal128(20, 0)
        ),  # an unsigned bigint of a database
        "click": pa.array([row % 2 for row in rows], pa.int32()),
        "bought": pa.array([row % 2 == 0 for row in rows]),
    }
    folder.mkdir(parents=True)
    name = f"part-{number:05d}-5f0a1e7c-0f0e-4a0b-9f57-1d2c3b4a5968.c000.snappy.parquet"
    pa.parquet.write_table(
        pa.table(columns), folder / name, compression="snappy", version="1.0", use_deprecated_int96_timestamps=True
    )
    (folder / f".{name}.crc").write_bytes(b"crc\0\0\0\2\0")


def test_reads_and_adapts(folder):
    items = Sequence("seen", [Categorical("item", vocabulary="adapt")], length=3)
    ids = [Categorical(name, vocabulary="adapt", dtype="int64") for name in ("user_id", "item_key")]
    schema = Schema([*ids, Categorical("country", vocabulary="adapt"), Numeric("price"), items], TASKS)
    schema = adapt(schema, read(folder, schema, batch_size=8), verbose=0)
    found = {feature.name: feature for feature in schema.features}
    assert sorted(found["item_key"].vocabulary) == [0, 1, 2, 3]
    assert sorted(found["country"].vocabulary) == ["NO", "SE"]
    ((x, y),) = read(folder, schema, batch_size=100)
    rows = np.arange(24)
    np.testing.assert_array_equal(x["user_id"], rows % 7)
    np.testing.assert_array_equal(x["item_key"], rows % 4)
    np.testing.assert_array_equal(x["price"], np.where(rows % 5, rows / 4, np.nan).astype("float32"))
    assert x["country"].numpy().tolist() == [b"NO"] * 10 + [b"SE"] * 8 + [b""] * 6
    assert x["seen_item"].numpy()[:3].tolist() == [[-1, -1, -1], [1, 3, -1], [2, 3, -1]]
    np.testing.assert_array_equal(y["bought"], rows % 2 == 0)
    ((x, _),) = read(folder, schema, batch_size=100, encode=True)
    np.testing.assert_array_equal(x["country"][18:], 0)
    halves = [sum(len(y["click"]) for _, y in read(folder, schema, batch_size=4, shard=(i, 2))) for i in range(2)]
    assert halves == [12, 12]


def test_proposes_a_schema(folder):
    """With the columns that only folders' names hold, and without times."""
    with pytest.warns(
        UserWarning,
        match=r"times, structures, one value, rows' numbers or numbers of several lengths: \['at \(timestamp\[ns\]\)', 'date \(string\)'\]",
    ):
        schema = infer_schema(folder, TASKS)
    kinds = {feature.name: type(feature) for feature in schema.features}
    assert kinds == {
        "user_id": Categorical,
        "seen_item": Sequence,
        "price": Numeric,
        "item_key": Numeric,
        "country": Categorical,
    }
    schema = adapt(schema, read(folder, schema, batch_size=8), verbose=0)
    assert {feature.name: feature for feature in schema.features}["country"].vocabulary == ("NO", "SE")

"""Files behind URLs, on fsspec's file system in memory."""

import gzip

import pyarrow as pa
import pyarrow.parquet
import pytest
from harness import run_fresh

from tfmtl.data import adapt, read
from tfmtl.schema import Categorical, Schema, Task

fsspec = pytest.importorskip("fsspec")
SCHEMA = Schema([Categorical("city", vocabulary="adapt")], [Task("click")])
DAYS = Schema([Categorical("city", vocabulary="adapt"), Categorical("day", num_ids=9)], [Task("click")])


@pytest.fixture
def store():
    found = fsspec.filesystem("memory")
    for city, day in (("Oslo", 1), ("Rome", 2)):
        with found.open(f"/bucket/rows/day={day}/part.parquet", "wb") as file:
            pa.parquet.write_table(pa.table({"city": [city, city], "click": [0, 1]}), file)
    found.pipe("/bucket/rows/_SUCCESS.parquet", b"")
    found.pipe("/bucket/text/a.csv.gz", gzip.compress(b"city,click\nOslo,1\n"))
    found.pipe("/bucket/text/b.csv", b"city,click\nRome,0\n")
    yield found
    found.rm("/bucket", recursive=True)


def cities(source, **options):
    return [city.decode() for x, _ in read(source, SCHEMA, batch_size=9, **options) for city in x["city"].numpy()]


def test_folders_files_patterns_and_lists(store):
    url = "memory://bucket"
    assert cities(f"{url}/rows") == ["Oslo", "Oslo", "Rome", "Rome"]
    assert cities(f"{url}/rows/day=2/part.parquet") == ["Rome", "Rome"]
    assert cities(f"{url}/rows/*/*.parquet") == cities(f"{url}/rows/day=*") == ["Oslo", "Oslo", "Rome", "Rome"]
    assert cities([f"{url}/text/b.csv", f"{url}/text/a.csv.gz"]) == ["Rome", "Oslo"]
    assert cities(f"{url}/text") == ["Oslo", "Rome"]
    assert sorted(cities(f"{url}/rows", shuffle=True, seed=1)) == ["Oslo", "Oslo", "Rome", "Rome"]


def test_learning_and_folders_names(store):
    source = "memory://bucket/rows"
    schema = adapt(DAYS, read(source, DAYS, batch_size=2))
    x, _ = next(iter(read(source, schema, batch_size=4, encode=True)))
    assert x["city"].numpy().tolist() == [1, 1, 2, 2] and x["day"].numpy().tolist() == [2, 2, 3, 3]


def test_errors_name_the_url(store):
    with pytest.raises(FileNotFoundError, match="memory://bucket/none"):
        read("memory://bucket/none", SCHEMA, batch_size=1)
    with pytest.raises(ValueError, match=r"memory://.*/day=1/part.parquet: columns \['town'\] are missing"):
        read("memory://bucket/rows", Schema([Categorical("town", num_ids=3)], [Task("click")]), batch_size=1)
    store.pipe("/bucket/text/b.csv", b"city,click\nRome,yes\n")
    with pytest.raises(ValueError, match=r"memory://.*/text/b.csv: column 'click': row 0"):
        read("memory://bucket/text", SCHEMA, batch_size=1)
    with pytest.raises(ValueError, match=r"no known kind.*'nowhere://bucket/x.csv'"):
        read("nowhere://bucket/x.csv", SCHEMA, batch_size=1)


def test_one_store_at_a_time(store, tmp_path):
    (tmp_path / "a.csv").write_text("city,click\nOslo,1\n")
    assert cities(f"file://{tmp_path}/a.csv") == cities([f"file://{tmp_path}/a.csv"]) == ["Oslo"]
    with pytest.raises(ValueError, match="must lie in one store"):
        read([tmp_path / "a.csv", "memory://bucket/text/b.csv"], SCHEMA, batch_size=1)


def test_records_are_read_from_this_machine(store):
    store.pipe("/bucket/a.tfrecord", b"")
    with pytest.raises(ValueError, match=r"TFRecord files are read by TensorFlow, from this machine.*a\.tfrecord"):
        read("memory://bucket/a.tfrecord", SCHEMA, batch_size=1)


def test_without_fsspec_the_extra_is_named():
    printed = run_fresh(
        """
        import sys
        sys.modules["fsspec.core"] = None
        import tfmtl
        try:
            tfmtl.read("s3://bucket/x.csv", tfmtl.Schema([tfmtl.Numeric("a")], [tfmtl.Task("b")]), batch_size=1)
        except ImportError as error:
            print(error)
        """
    )
    assert "'s3://bucket/x.csv' needs fsspec: pip install 'tfmtl[remote]'" in printed

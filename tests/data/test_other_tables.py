"""Tables of other libraries, and rows."""

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
import tensorflow as tf

from tfmtl.data import read
from tfmtl.schema import Categorical, Numeric, Schema, Task

SCHEMA = Schema([Categorical("city", vocabulary=("Oslo", "Rome")), Numeric("age", transform=None)], [Task("click")])
ROWS = {"city": ["Oslo", None, "Rome"], "age": [1.0, 2.0, None], "click": [1, 0, 1], "unread": [object.__name__] * 3}


def rows():
    return [{name: values[i] for name, values in ROWS.items()} for i in range(3)]


def check(source):
    (x, y), *others = read(source, SCHEMA, batch_size=3)
    assert x["city"].numpy().tolist() == [b"Oslo", b"", b"Rome"] and not others
    np.testing.assert_equal(x["age"].numpy(), [1, 2, np.nan])
    assert y["click"].numpy().tolist() == [1, 0, 1]


def test_rows_as_dicts():
    check(rows())
    check(row for row in rows())
    check([{name: value for name, value in row.items() if value is not None} for row in rows()])  # ragged


def test_tables_one_after_the_other():
    frame = pd.DataFrame(ROWS)
    check([frame[:1], frame[1:]])
    check(frame[start : start + 1] for start in range(3))
    check([pa.table(ROWS)[:2], pa.table(ROWS)[2:]])


def test_arrow_datasets_and_streams(tmp_path):
    check(pa.dataset.dataset(pa.table(ROWS)))
    pa.dataset.write_dataset(pa.table(ROWS | {"day": [1, 1, 2]}), tmp_path, format="parquet", partitioning=["day"])
    check(pa.dataset.dataset(tmp_path, partitioning=["day"]))
    check(pa.table(ROWS).to_reader())


def test_polars():
    polars = pytest.importorskip("polars")
    check(polars.DataFrame(ROWS))
    check(polars.LazyFrame(ROWS).filter(polars.col("click") >= 0))


def test_datasets_of_hugging_face():
    datasets = pytest.importorskip("datasets", exc_type=ImportError)
    if not hasattr(datasets, "Dataset"):  # the folder of tests beside this file
        pytest.skip("HuggingFace's datasets is not installed")
    found = datasets.Dataset.from_dict(ROWS)
    check(found)
    check(found.select([2, 1, 0]).select([2, 1, 0]))
    with pytest.raises(ValueError, match=r"several tables: pass one of them. Received: \['train'\]"):
        read(datasets.DatasetDict({"train": found}), SCHEMA, batch_size=3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "`source` must be a path, a URL.*Received: source=3"),
        (None, "Received: source=None"),
        (np.zeros((3, 2)), r"Received: source=array"),
        ([1, 2], "must hold paths. Received: 1"),
        (iter([1, 2]), "Received: a list_iterator of 1"),
        (iter([]), "no row to read"),
        ({"train": pd.DataFrame(ROWS)}, r"several tables.*\['train'\]"),
        (b"rows.csv", "Received: source=b'rows.csv'"),
        (sys, "Received: source=<module"),
    ],
)
def test_what_is_no_table_is_refused_in_words(source, message):
    with pytest.raises(ValueError, match=message):
        read(source, SCHEMA, batch_size=3)


def test_a_dataset_is_mapped_and_not_read():
    with pytest.raises(ValueError, match=r"`dataset.map\(preprocessor\)`"):
        read(tf.data.Dataset.from_tensors(1).repeat(), SCHEMA, batch_size=3)

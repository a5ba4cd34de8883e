"""Labels and sample spaces that compare a column with a number."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from tfmtl.data import adapt, read
from tfmtl.schema import Categorical, Schema, Task

FEATURES = [Categorical("city", vocabulary=("Rome",))]
TASKS = [
    Task("liked", label=("rating", ">=", 4)),
    Task("loved", label=["rating", ">", 4.5]),  # a list, as JSON has it
    Task("hated", label=("rating", "<", np.int64(2)), sample_space=("rating", "<=", 4)),
]
SCHEMA = Schema(FEATURES, TASKS)
EXPECTED = {
    "liked": [1, 0, np.nan, 1],
    "loved": [1, 0, np.nan, 0],
    "hated": [np.nan, 1, np.nan, 0],
}


@pytest.mark.parametrize("kind", [pa.int64(), pa.int8(), pa.float32(), pa.float64(), pa.decimal128(21, 1)])
def test_a_threshold_makes_a_label_of_every_type_of_number(kind):
    rows = pa.table({"city": ["Rome"] * 4, "rating": pa.array([5, 1, None, 4]).cast(kind)})
    y = read(rows, SCHEMA, batch_size=4)
    np.testing.assert_equal({task: labels.numpy().tolist() for task, labels in next(iter(y))[1].items()}, EXPECTED)


def test_files_of_text_too(tmp_path):
    (tmp_path / "rows.csv").write_text("city,rating\nRome,5\nRome,1\nRome,\nRome,4.0\n")
    y = next(iter(read(tmp_path / "rows.csv", SCHEMA, batch_size=4)))[1]
    np.testing.assert_equal({task: labels.numpy().tolist() for task, labels in y.items()}, EXPECTED)


def test_float32_is_compared_as_float32():
    schema = Schema(FEATURES, [Task("dear", label=("price", ">=", 0.1))])
    rows = pa.table({"city": ["Rome"], "price": pa.array([0.1], pa.float32())})
    assert next(iter(read(rows, schema, batch_size=1)))[1]["dear"].numpy() == [1.0]


def test_they_survive_json_and_are_learned():
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA and SCHEMA.label_columns == ("rating",)
    rows = {"city": ["Rome"] * 4, "rating": [5, 1, None, 4]}
    assert adapt(SCHEMA, read(rows, SCHEMA, batch_size=4)).task("liked").mean == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "label", [("rating", ">=", "4"), ("rating", "=>", 4), ("rating", ">=", 4, 5), (4, ">=", "rating")]
)
def test_other_comparisons_are_refused(label):
    with pytest.raises(ValueError, match=r"`label` of task 'liked' must be a column, .*'>=', number.*Received: label="):
        Task("liked", label=label)


def test_a_threshold_is_no_regression_and_no_text():
    with pytest.raises(ValueError, match="0 or 1"):
        Task("liked", "regression", label=("rating", ">=", 4))
    rows = pa.table({"city": ["Rome"], "rating": ["good"]})
    with pytest.raises(ValueError, match=r"column 'rating' must hold numbers"):
        read(rows, SCHEMA, batch_size=1)

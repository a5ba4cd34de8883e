"""Census-Income as published, on rows made here in its format."""

import gzip

import numpy as np
import pyarrow.parquet as pa_parquet
import pytest
from census_rows import write_census

from tfmtl.data import Preprocessor, adapt, census_income, read
from tfmtl.data.datasets.census_income import COLUMNS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_census(tmp_path_factory.mktemp("files") / "census", train=3000, test=1001)


@pytest.fixture(scope="module")
def split(folder):
    return census_income(folder, dim=4)


def test_rows_say_what_the_lines_say(folder, split):
    lines = [line.rstrip(".\n").split(", ") for line in (folder / "census-income.data").open()]
    assert split.train.num_rows == len(lines) == 3000
    for name in ("education", "income", "hispanic_origin", "country_of_birth_self"):
        assert split.train[name].to_pylist() == [line[COLUMNS.index(name)] for line in lines]
    assert split.train["weight"].to_pylist() == [float(line[COLUMNS.index("weight")]) for line in lines]
    assert split.train["age"].type == "int64" and len(split.train.column_names) == 34


def test_features_and_labels(split):
    schema = split.schema
    assert len(schema.features) == 31 and all(feature.dim == 4 for feature in schema.features)
    assert set(split.train.column_names) - set(schema.feature_columns) == {"weight", "marital_status", "income"}
    _, y = next(iter(read(split.train, schema, batch_size=3000)))
    rich = [income == "50000+" for income in split.train["income"].to_pylist()]
    np.testing.assert_array_equal(y["income"].numpy(), np.array(rich, "float32"))
    assert 0.05 < np.mean(rich) < 0.95 and 0 < y["never_married"].numpy().mean() < 1


def test_every_row_encodes(split):
    schema = adapt(split.schema, read(split.train, split.schema, batch_size=1000))
    encoded = Preprocessor(schema.features)(next(iter(read(split.test, schema, batch_size=600)))[0])
    for feature in schema.features:
        rows = encoded[feature.name].numpy()
        assert rows.max() < feature.rows and np.mean(rows == 0) < 0.01, feature.name


def test_halves_of_the_test_rows(folder, split):
    assert (split.valid.num_rows, split.test.num_rows) == (500, 501)
    assert split.valid.equals(census_income(folder).valid)
    assert not split.valid.equals(census_income(folder, seed=1).valid)


def test_packed_and_parquet_files_are_the_same(folder, split, tmp_path):
    for name in ("data", "test"):
        packed = gzip.compress((folder / f"census-income.{name}").read_bytes())
        (tmp_path / f"census-income.{name}.gz").write_bytes(packed)
    assert census_income(tmp_path).train.equals(split.train)
    (tmp_path / "parquet").mkdir()
    for name in ("train", "test"):
        pa_parquet.write_table(split.train, tmp_path / "parquet" / f"census_income_{name}.parquet")
    assert census_income(tmp_path / "parquet").train.equals(split.train)


def test_a_folder_without_the_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks .*census-income.test.*doi.org"):
        census_income(tmp_path)
    (tmp_path / "census-income.test").write_text("1, 2, 3\n")
    with pytest.raises(ValueError, match=r"no file of Census-Income \(KDD\) with 42 columns"):
        census_income(tmp_path)
    with pytest.raises(ValueError, match="must be a path of this machine"):
        census_income("gs://bucket/census")

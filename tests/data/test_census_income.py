"""The bundled Census-Income data is what its docstring says."""

import numpy as np
import pyarrow.parquet as pa_parquet
import pytest

from tfmtl.data import census_income
from tfmtl.data.adapting import adapt
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read


@pytest.fixture(scope="module")
def schema():
    schema = census_income.schema(dim=4)
    return adapt(schema, read(census_income.train_path(), schema, batch_size=16_384))


@pytest.mark.parametrize(
    ("path", "rows", "income", "never_married"),
    [(census_income.train_path(), 199_523, 12_382, 86_485), (census_income.test_path(), 99_762, 6_186, 43_143)],
)
def test_official_split(path, rows, income, never_married):
    schema = census_income.schema()
    assert len(schema.features) == 31
    columns = pa_parquet.read_schema(path).names
    assert set(columns) - set(schema.feature_columns) == {"weight", "marital_status", "income"}
    dataset = read(path, schema, batch_size=20_000)
    labels = [(len(y["income"]), y["income"].numpy().sum(), y["never_married"].numpy().sum()) for _, y in dataset]
    np.testing.assert_array_equal(np.sum(labels, axis=0), [rows, income, never_married])


def test_bins_resolve_the_tail(schema):
    gains = schema.feature("capital_gains")
    assert gains.boundaries[0] > 0
    assert len(gains.boundaries) == 63
    assert schema.feature("weeks_worked_in_year").rows == 54
    assert schema.feature("sex").vocabulary == ("Female", "Male")
    assert all(feature.dim == 4 for feature in schema.features)


def test_every_test_row_encodes(schema):
    preprocessor = Preprocessor(schema.features)
    encoded, _ = next(iter(read(census_income.test_path(), schema, batch_size=99_762).map(preprocessor)))
    for feature in schema.features:
        rows = encoded[feature.name].numpy()
        assert rows.max() < feature.rows
        assert np.mean(rows == 0) < 0.001, feature.name


def test_halves_of_the_test_rows():
    first, second = census_income.split_test()
    assert abs(first.num_rows - second.num_rows) <= 1
    assert first.num_rows + second.num_rows == 99_762
    assert first.equals(census_income.split_test()[0])
    assert not first.equals(census_income.split_test(seed=1)[0])
    rates = [np.mean(np.array(half["income"].to_pylist()) == "50000+") for half in (first, second)]
    assert abs(rates[0] - rates[1]) < 0.005

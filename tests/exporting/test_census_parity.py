"""On 5,000 rows of 31 columns, one value in fifty broken, an export answers what `model.predict` answers."""

import numpy as np
import pytest
import tensorflow as tf
from census_rows import write_census

from tfmtl.data import census_income
from tfmtl.data.adapting import adapt
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read
from tfmtl.exporting.example_rows import rows_of, take
from tfmtl.exporting.export import export
from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.exporting.tf_examples import as_examples
from tfmtl.models.presets import ple

COUNT = 5_000
BROKEN = {
    tf.string: [b"", b"no such category", b" Private", b"x" * 500, b"\x00"],
    tf.int64: [-1, -(2**63), 2**63 - 1, 77],
    tf.float32: [np.nan, np.inf, -np.inf, -1.0, 3e38, 1e-45],
}


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return census_income(write_census(tmp_path_factory.mktemp("files") / "census", train=COUNT, test=2), dim=4)


@pytest.fixture(scope="module")
def schema(split):
    return adapt(split.schema, read(split.train, split.schema, batch_size=2048))


@pytest.fixture(scope="module")
def rows(split, schema):
    specs = Preprocessor(schema.features).raw_signature
    rows = rows_of(read(split.train, schema, batch_size=2048), specs, COUNT)
    rng = np.random.default_rng(0)
    for name, column in rows.items():
        hit = rng.random(COUNT) < 0.02
        column[hit] = rng.choice(np.array(BROKEN[specs[name].dtype], column.dtype), hit.sum())
    return rows


def test_every_signature_equals_predict(schema, rows, tmp_path):
    model = ple(schema, units=((16,), (8,)), tower_units=(4,))
    loaded = ExportedModel(export(model, tmp_path / "census", schema, examples=rows))
    encoded = Preprocessor(schema.features)(rows)
    expected = model.predict(encoded, batch_size=2048, verbose=0)
    answers = {
        "serving_default": loaded(rows),
        "serving_ids": loaded(encoded, "serving_ids"),
        "examples": loaded(as_examples(take(rows, slice(1000))), "examples"),
        "income": loaded(rows, "income"),
    }
    for name, predictions in answers.items():
        for task, answer in predictions.items():
            wanted = expected[task][: len(answer)]
            np.testing.assert_allclose(answer, wanted, rtol=0, atol=1e-6, err_msg=f"{name}, {task}")
    assert answers["serving_default"]["income"].shape == (COUNT, 1)

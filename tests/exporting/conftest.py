"""One export that many tests look at."""

import pytest
from small_ranker import SCHEMA, random_rows, small_model

from tfmtl.exporting.export import export
from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.exporting.score import Score
from tfmtl.keras_host import keras


@pytest.fixture(scope="session")
def schema():
    return SCHEMA


@pytest.fixture(scope="session")
def model():
    keras.utils.set_random_seed(3)
    return small_model()


@pytest.fixture(scope="session")
def rows():
    return random_rows(64)


@pytest.fixture(scope="session")
def exported(model, schema, rows, tmp_path_factory):
    """The folder of version 1 of `ranker`, with everything an export can have."""
    return export(
        model,
        tmp_path_factory.mktemp("models") / "ranker",
        schema,
        examples=rows,
        score=Score({"click": 1.0, "buy": 0.5}, at_request=True),
        metrics={"click": {"auc": 0.75, "gauc": float("nan")}},
        data="64 made-up rows",
    )


@pytest.fixture(scope="session")
def loaded(exported):
    return ExportedModel(exported)

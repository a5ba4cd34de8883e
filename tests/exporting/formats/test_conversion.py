"""ONNX and LiteRT answer as the export does, or nothing is written."""

import numpy as np
import pytest
import tensorflow as tf
from small_ranker import SCHEMA as PLAIN_SCHEMA

from tfmtl.atomic_file import replacing
from tfmtl.exporting.export import export
from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.exporting.formats import conversion
from tfmtl.exporting.formats.conversion import check_converted, encoded_rows
from tfmtl.exporting.formats.litert import export_litert
from tfmtl.exporting.parity import ParityError
from tfmtl.models.presets import ple
from tfmtl.schema import Categorical, Schema

# Vocabularies of integers are tables that LiteRT does not have.
SCHEMA = Schema([*PLAIN_SCHEMA.features, Categorical("code", vocabulary=(3, 5, 9), dim=4)], PLAIN_SCHEMA.tasks)
ROWS = encoded_rows(SCHEMA, 7, seed=1)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    model = ple(SCHEMA, units=((8,), (8,)), tower_units=(4,))
    return ExportedModel(export(model, tmp_path_factory.mktemp("models") / "ple", SCHEMA))


def expected(loaded):
    return {name: y.numpy() for name, y in loaded(ROWS, "serving_ids").items()}


def test_litert(loaded, tmp_path):
    file = export_litert(loaded.path.parent, tmp_path / "new" / "ple.tflite")
    run = tf.lite.Interpreter(model_path=str(file)).get_signature_runner("serving_ids")
    assert sorted(run.get_input_details()) == sorted(ROWS)
    for count in (1, 7):
        answer = run(**{name: column[:count] for name, column in ROWS.items()})
        for name, wanted in expected(loaded).items():
            np.testing.assert_allclose(answer[name], wanted[:count], atol=1e-5)


def test_onnx(loaded, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    from tfmtl.exporting.formats.onnx import export_onnx

    file = export_onnx(loaded.path, tmp_path / "ple.onnx")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert sorted(given.name for given in session.get_inputs()) == sorted(ROWS)
    for count in (1, 7):
        names = [output.name for output in session.get_outputs()]
        answer = dict(
            zip(names, session.run(names, {name: column[:count] for name, column in ROWS.items()}), strict=True)
        )
        for name, wanted in expected(loaded).items():
            np.testing.assert_allclose(answer[name], wanted[:count], atol=1e-5)


def test_encoded_rows_are_what_the_model_reads(loaded):
    specs = loaded.signatures["serving_ids"].structured_input_signature[1]
    assert set(ROWS) == set(specs)
    for name, column in encoded_rows(SCHEMA, 200).items():
        assert column.dtype == specs[name].dtype.as_numpy_dtype and specs[name].shape.is_compatible_with(column.shape)
    many = encoded_rows(SCHEMA, 200)
    assert set(many["city"].tolist()) == {0, 1, 2, 3} and np.isnan(many["price"]).any()
    assert set(many["seen_mask"].sum(1).tolist()) == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("wrong", [lambda y: y + 1e-3, lambda y: y[:, 0], lambda y: np.full_like(y, np.nan)])
def test_a_wrong_answer_is_noticed(loaded, wrong):
    def run(rows):
        return {name: wrong(y.numpy()) for name, y in loaded(rows, conversion.CORE).items()}

    with pytest.raises(ParityError, match="The ONNX model"):
        check_converted(loaded, run, "ONNX")


def test_a_difference_can_be_allowed_and_no_other(loaded):
    def run(rows):
        return {name: y.numpy() + 5e-4 for name, y in loaded(rows, conversion.CORE).items()}

    with pytest.raises(ParityError, match="more than `tolerance=1e-05`"):
        check_converted(loaded, run, "ONNX")
    check_converted(loaded, run, "ONNX", tolerance=1e-3)
    with pytest.raises(ValueError, match="`tolerance` must be a number > 0"):
        export_litert(loaded.path, "ranker.tflite", tolerance=0.0)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "model"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as file:
        file.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
    with replacing(target) as file:
        file.write_text("new")
    assert target.read_text() == "new" and list(tmp_path.iterdir()) == [target]

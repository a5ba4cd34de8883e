"""The graph of every preset becomes LiteRT and ONNX and answers as the model does."""

import tempfile

import numpy as np
import pytest
import tensorflow as tf
from every_preset import FEATURES, PRESETS, SCHEMA, small

from tfmtl import losses
from tfmtl.exporting.export import export
from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.exporting.formats.conversion import encoded_rows
from tfmtl.exporting.formats.litert import export_litert
from tfmtl.exporting.formats.onnx import export_onnx
from tfmtl.keras_host import inputs_by_name
from tfmtl.layers import FactorizationMachine
from tfmtl.models import cross_stitch, shared_bottom
from tfmtl.schema import Categorical, Schema, Sequence, Task

# Stitches, trees, hypernetworks and gates of several levels: what no other of these is made of.
QUICK = {"sluice", "dtrn", "ml_mmoe"}
EACH = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PRESETS]


def assert_litert_answers(model, schema):
    inputs = inputs_by_name(model)
    specs = {name: tf.TensorSpec((None, *x.shape[1:]), x.dtype, name=name) for name, x in inputs.items()}
    function = tf.function(lambda **columns: model(columns, training=False)).get_concrete_function(**specs)
    root = tf.Module()
    root.weights = list(function.graph.variables)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(root, folder, signatures={"core": function})
        lite = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["core"]).convert()
    rows = {name: column for name, column in encoded_rows(schema, 9, seed=1).items() if name in inputs}
    wanted = function(**{name: tf.constant(column) for name, column in rows.items()})
    run = tf.lite.Interpreter(model_content=lite).get_signature_runner("core")
    for count in (1, 9):
        answer = run(**{name: column[:count] for name, column in rows.items()})
        for task, expected in wanted.items():
            np.testing.assert_allclose(answer[task], expected[:count], atol=1e-5)


@pytest.mark.parametrize("preset", EACH)
def test_litert(preset):
    assert_litert_answers(*small(preset))


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["scalar", "channel"])
def test_litert_of_every_stitch(granularity):
    assert_litert_answers(cross_stitch(SCHEMA, units=(4, 4), granularity=granularity), SCHEMA)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_both_formats_from_an_export(preset, tmp_path):
    pytest.importorskip("tf2onnx")
    model, schema = small(preset)
    export(model, tmp_path / "ranker", schema)
    assert export_litert(tmp_path / "ranker", tmp_path / "ranker.tflite").exists()
    assert export_onnx(tmp_path / "ranker", tmp_path / "ranker.onnx").exists()


OUTPUTS = [
    Task("click"),
    Task("stars", "multiclass", num_classes=4),
    Task("tier", "multiclass", classes=("free", "plus", "pro"), ordered=True),
    Task("wait", "regression", loss=losses.Quantile((0.1, 0.5, 0.9))),
    Task("spent", "regression", loss=losses.ZeroInflatedLogNormal()),
    Task("watched", "regression", loss=losses.WeightedLogistic()),
]


def test_every_kind_of_output(tmp_path):
    pytest.importorskip("tf2onnx")
    schema = Schema([Categorical("city", vocabulary=("Rome", "Lima"), dim=3)], OUTPUTS)
    export(shared_bottom(schema, units=(3,), tower_units=(3,)), tmp_path / "ranker", schema)
    assert export_onnx(tmp_path / "ranker", tmp_path / "ranker.onnx").exists()
    assert export_litert(tmp_path / "ranker", tmp_path / "ranker.tflite").exists()


@pytest.mark.slow
def test_what_lies_below_a_trunk(tmp_path):
    """A history that is read by the candidate, and products of fields."""
    pytest.importorskip("tf2onnx")
    item = Categorical("item", vocabulary=("a", "b", "c"), dim=4, table="items")
    seen = Sequence("seen", [item], length=3, pooling="attention", target="item")
    schema = Schema([item, Categorical("city", vocabulary=("Rome", "Lima"), dim=4), seen], [Task("click")])
    export(shared_bottom(schema, units=(3,), interactions=[FactorizationMachine()]), tmp_path / "ranker", schema)
    assert export_onnx(tmp_path / "ranker", tmp_path / "ranker.onnx").exists()
    assert export_litert(tmp_path / "ranker", tmp_path / "ranker.tflite").exists()


@pytest.mark.slow
def test_an_activation_with_a_gradient_of_its_own(tmp_path):
    """Signatures of some tasks are cut from the graph, where such a gradient would read what is not there."""
    model = cross_stitch(SCHEMA, units=(4,), activation="swish")
    export(model, tmp_path / "ranker", SCHEMA)
    assert export_litert(tmp_path / "ranker", tmp_path / "ranker.tflite").exists()


@pytest.mark.slow
def test_names_keep_their_letters(tmp_path):
    """TensorFlow lowers those of what it calls its specs."""
    onnxruntime = pytest.importorskip("onnxruntime")
    schema = Schema([Categorical("userId", num_ids=5, dim=4)], [Task("Click", mean=0.5), Task("buyNow", mean=0.5)])
    export(cross_stitch(schema, units=(4,)), tmp_path / "ranker", schema)
    loaded = ExportedModel(tmp_path / "ranker")
    assert "userId" in loaded.card
    session = onnxruntime.InferenceSession(str(export_onnx(loaded.path, tmp_path / "ranker.onnx")))
    assert [each.name for each in session.get_inputs()] == ["userId"]
    assert sorted(each.name for each in session.get_outputs()) == ["Click", "buyNow"]
    run = tf.lite.Interpreter(model_path=str(export_litert(loaded.path, tmp_path / "ranker.tflite")))
    assert list(run.get_signature_runner("serving_ids").get_input_details()) == ["userId"]


def test_features_of_every_kind_are_among_them():
    assert {type(feature).__name__ for feature in FEATURES} == {"Categorical", "Numeric", "Sequence"}

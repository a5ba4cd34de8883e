"""The doctor on models of any kind, what it says, and what it refuses."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from harness import ROOT
from patients import Data

from tfmtl.analysis.doctor import FAULTS, Finding, diagnose
from tfmtl.analysis.doctor.checks.leaks import scores_of
from tfmtl.analysis.doctor.examiner import Examiner
from tfmtl.data import Preprocessor
from tfmtl.keras_host import keras, ops
from tfmtl.metrics import exact
from tfmtl.models import aitm, esmm, mmoe
from tfmtl.schema import Categorical, Numeric, Schema, Task
from tfmtl.training import objectives

PAIR = Schema(
    [Numeric("price", transform=None, flag_missing=False), Numeric("age", transform=None, flag_missing=False)],
    [Task("click"), Task("buy")],
)


def pair(rows, seed, opposed=1.0):
    """Two tasks that agree on the price and want the opposite of the age."""
    random = np.random.default_rng(seed)
    x = {name: random.normal(size=rows).astype("float32") for name in ("price", "age")}
    logits = {"click": x["price"] + opposed * x["age"], "buy": x["price"] - opposed * x["age"]}
    y = {name: (random.random(rows) < 1 / (1 + np.exp(-logit))).astype("float32") for name, logit in logits.items()}
    return Data(x, y)


def plain_model(units, outputs=None):
    """No layer of tfmtl: two numbers, one hidden layer, an output for each task."""
    inputs = {name: keras.Input((), name=name) for name in ("price", "age")}
    x = keras.layers.Concatenate()([keras.layers.Reshape((1,))(column) for column in inputs.values()])
    x = keras.layers.Dense(units, name="hidden")(x)
    made_of = {name: keras.layers.Dense(1, "sigmoid", dtype="float32", name=name)(x) for name in PAIR.task_names}
    return keras.Model(inputs, made_of if outputs is None else outputs(made_of, x))


def fitted(model, data, epochs=4):
    metrics = {task.name: [] for task in PAIR.tasks}
    model.compile(keras.optimizers.Adam(0.03), **objectives(PAIR.tasks, metrics=metrics))
    model.fit(data.batches(128), epochs=epochs, verbose=0)
    return model


def named(found, severity="warning"):
    return [(each.name, each.where) for each in found.at_least(severity)]


@pytest.mark.parametrize(("units", "expected"), [(1, [("conflicting_gradients", "click, buy")]), (4, [])])
def test_tasks_that_share_one_unit_and_want_opposite_things_of_it(units, expected):
    """With four units each task finds its own direction: the same rows, and no conflict."""
    found = diagnose(
        fitted(plain_model(units), pair(4096, 1), epochs=6),
        pair(2048, 2).batches(128),
        PAIR,
        train=pair(4096, 1).batches(128),
    )
    assert named(found) == expected
    for each in found:
        assert each.evidence["cosine"] < -0.5 and each.evidence["share_of_steps"] > 0.9
        assert "'hidden'" in each.message and any(key.startswith("cosine in") for key in each.evidence)
    assert any("`tfmtl.typing.MixesExperts`" in remark for remark in found.remarks)


def test_an_output_behind_a_stopped_gradient():
    data = pair(1024, 1)
    model = plain_model(4)
    frozen = keras.layers.Dense(1, "sigmoid", trainable=False, dtype="float32", name="frozen")
    outputs = {"click": model.output["click"], "buy": frozen(Stopped()(model.get_layer("hidden").output))}
    model = fitted(keras.Model(model.input, outputs), data, 8)
    assert named(diagnose(model, data.batches(128), PAIR)) == [("untrained_head", "buy")]


class Stopped(keras.layers.Layer):
    def call(self, x):
        return ops.stop_gradient(x)


def test_logits_and_outputs_that_the_schema_does_not_name():
    data = pair(1024, 1)
    model = fitted(plain_model(4), data, 8)
    logits = {**model.output, "buy": keras.layers.Rescaling(8.0, -4.0)(model.output["buy"])}
    found = diagnose(keras.Model(model.input, {**logits, "also": model.output["click"]}), data.batches(128), PAIR)
    assert named(found, "note") == [("not_probabilities", "buy"), ("unread_output", "also")]


def test_an_expert_that_nobody_reads():
    data = pair(512, 1)
    model = mmoe(PAIR, units=(4,), num_experts=3, gate_use_bias=True, base_rates={})
    for gate in model.get_layer("trunk").mixers.values():
        kernel, bias = gate.logits.weights
        kernel.assign(np.zeros(kernel.shape))
        bias.assign([0.0, 0.1, -9.0])
    found = diagnose(model, data.batches(128), PAIR)
    assert [(each.name, each.where) for each in found if each.name == "unused_experts"] == [
        ("unused_experts", "trunk, shared 2")
    ]


def test_a_fresh_model_is_judged_by_its_data_alone():
    model = plain_model(4)
    model.compile("adam", **objectives(PAIR.tasks))
    before = [np.array(variable) for variable in model.variables]
    found = diagnose(model, pair(512, 1).batches(128), PAIR)
    assert not len(found) and "has not taken a step" in found.remarks[-1]
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


def test_a_model_that_is_no_graph_is_looked_at_from_outside():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = plain_model(4)

        def call(self, x, training=None):
            return {"click": self.inner(x)["click"], "buy": 0.2 + 0.0 * self.inner(x)["buy"]}

    found = diagnose(Subclassed(), pair(512, 1).batches(128), PAIR)
    assert ("constant_predictions", "buy") in named(found)
    assert any("functional model; of Subclassed" in remark for remark in found.remarks)


@pytest.mark.parametrize("preset", [esmm, aitm])
def test_the_chain_of_a_head_is_known(preset):
    assert Examiner(preset(PAIR, chain=["click", "buy"]), PAIR).chains == [("click", "buy")]


def test_a_model_from_a_file_shows_its_experts_too(tmp_path):
    model = mmoe(PAIR, units=(4,), num_experts=3, base_rates={})
    model.save(tmp_path / "model.keras")
    data = pair(256, 1).batches(128)
    found, loaded = (Examiner(each, PAIR)(data) for each in (model, keras.models.load_model(tmp_path / "model.keras")))
    assert [level.name for level in loaded.mixtures] == ["trunk"]
    np.testing.assert_allclose(loaded.mixtures[0].inner, found.mixtures[0].inner, rtol=1e-5)
    assert (
        {"bottom/embed/tables", "trunk/shared_experts"} >= set(loaded.gradients.layers) == set(found.gradients.layers)
    )
    np.testing.assert_allclose(loaded.gradients.gramians, found.gradients.gramians, rtol=1e-4)


def test_one_task_and_weighted_rows():
    """Rows of weight 0 do not count for calibration, and other tasks are not asked for."""
    data, schema = pair(2048, 1), PAIR.with_tasks(["click"])
    wrong = data.y["click"].copy()
    wrong[::2] = 1
    weights = np.tile([0.0, 1.0], 1024).astype("float32")
    model = fitted(plain_model(4), data, 8)
    batches = tf.data.Dataset.from_tensor_slices((data.x, {"click": wrong}, weights)).batch(128)
    assert named(diagnose(model, batches, schema)) == []
    assert named(diagnose(model, batches.map(lambda x, y, w: (x, y)), schema)) == [("miscalibrated", "click")]


def test_raw_rows_tell_missing_ids_from_unknown_ones():
    schema = Schema(
        [Categorical("city", vocabulary=("Oslo", "Rome"), dim=2)], [Task("click", mean=0.5), Task("buy", mean=0.5)]
    )
    model, labels = mmoe(schema, units=(4,), num_experts=2), np.tile([0.0, 1.0], 50).astype("float32")
    rows = [
        ({"city": np.array(cities)}, {"click": labels, "buy": labels})
        for cities in (["Oslo", ""] * 50, ["Oslo", "Lima"] * 50)
    ]
    encode = Preprocessor(schema.features)
    # A city that is missing in every second row is no fault of the vocabulary; here it also is the label in other words.
    assert "unknown_ids" not in {each.name for each in diagnose(model, rows[:1], schema, preprocessor=encode)}
    found = {each.name: each for each in diagnose(model, rows[1:], schema, preprocessor=encode)}
    assert found["unknown_ids"].evidence["share"] == 0.5 and "are unknown and share" in found["unknown_ids"].message


def test_numbers_and_histories_leak_too():
    data = pair(1024, 1)
    labels = data.y["click"]
    history = np.where(np.arange(6) < 3, np.where(labels[:, None] > 0, 7, 8), -1)
    assert exact.auc(labels, scores_of(history, "histories", labels)) == 1.0
    unique = np.arange(1024)  # an id of its own for every row tells nothing
    assert abs(exact.auc(labels, scores_of(unique, "ids", labels)) - 0.5) < 0.05
    leaky = data.changed(x={"price": np.where(labels > 0, 1 + data.x["price"] ** 2, -1.0).astype("float32")})
    assert named(diagnose(plain_model(2), leaky.batches(128), PAIR), "error") == [("leaking_feature", "price -> click")]


def test_reports(tmp_path):
    model = plain_model(2)
    empty = pair(256, 1).changed(y={"buy": np.full(256, np.nan, "float32")})
    found = diagnose(model, empty.batches(128), PAIR)
    text = str(found)
    assert "256 rows: 1 error" in text and "ERROR  unlabelled_task: buy" in text and "-> Look at its label" in text
    page = found.to_html(tmp_path / "report.html").read_text()
    assert "unlabelled_task: buy" in page and "<script" not in page
    assert "data:image/svg+xml" in page and found.cosines.shape == (2, 2) and np.isnan(found.cosines[0, 1])
    shown = found._repr_html_()
    assert "<td>unlabelled_task</td>" in shown and "<body" not in shown
    held = json.loads(found.to_json(tmp_path / "report.json"))
    assert held["findings"][0]["evidence"] == {"rows": 256, "labels": 0}
    assert json.loads((tmp_path / "report.json").read_text()) == held
    frame = found.to_dataframe()
    assert frame.loc[0, "name"] == "unlabelled_task" and len(frame) == len(found) == 1
    assert found[0].tasks == ("buy",) and list(found) == list(found.findings)


def test_what_it_refuses():
    data = pair(256, 1)
    rows = data.batches(128)
    model = plain_model(2)
    with pytest.raises(ValueError, match=r"must return a dict, .*Received: outputs of type list"):
        diagnose(plain_model(2, lambda outputs, x: list(outputs.values())), rows, PAIR)
    with pytest.raises(ValueError, match=r"does not predict the tasks \['spend'\]"):
        diagnose(model, rows, Schema(PAIR.features, [*PAIR.tasks, Task("spend", "regression")]))
    with pytest.raises(ValueError, match="`dataset` gave no batch"):
        diagnose(model, rows.take(0), PAIR)
    with pytest.raises(ValueError, match=r"must give \(x, y\) or"):
        diagnose(model, rows.map(lambda x, y: x), PAIR)
    with pytest.raises(ValueError, match="No label of task 'buy'"):
        diagnose(model, rows.map(lambda x, y: (x, {"click": y["click"]})), PAIR)
    with pytest.raises(ValueError, match="reads the column 'price'"):
        diagnose(model, rows.map(lambda x, y: ({"age": x["age"]}, y)), PAIR)
    with pytest.raises(ValueError, match="`click` must be 0, 1 or NaN"):
        diagnose(model, data.changed(y={"click": data.y["click"] * 2}).batches(128), PAIR)
    with pytest.raises(ValueError, match="`history` must be what `fit` returned"):
        diagnose(model, rows, PAIR, history=[1, 2])
    with pytest.raises(ValueError, match="`initial` must be what"):
        diagnose(model, rows, PAIR, initial=model.get_weights()[1:])
    with pytest.raises(ValueError, match="`dataset` is read more than once"):
        diagnose(model, iter(rows), PAIR)
    with pytest.raises(ValueError, match="`steps` must be an integer >= 1"):
        diagnose(model, rows, PAIR, steps=0)
    with pytest.raises(ValueError, match="`name` must be one of"):
        Finding("tired", "note", "here", "so", "so")


def test_other_backends_are_told(monkeypatch):
    monkeypatch.setattr(sys.modules[diagnose.__module__], "BACKEND", "jax")
    with pytest.raises(ValueError, match=r"`diagnose` needs the TensorFlow backend\. Received: backend='jax'"):
        diagnose(plain_model(2), pair(256, 1).batches(128), PAIR)


def test_every_fault_has_a_test_and_a_line_in_the_documents():
    texts = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert not [name for name in FAULTS if f'"{name}"' not in texts]
    page = (ROOT / "docs" / "diagnose.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \| (?:error|warning|note) \|", page, re.MULTILINE)) == set(FAULTS)

"""The conditional probability of a step, beside the probabilities that a chain is trained on."""

import numpy as np
import pytest
import tensorflow as tf
from every_preset import FEATURES, ROWS, labels

import tfmtl
from tfmtl.exporting import ExportedModel
from tfmtl.keras_host import keras
from tfmtl.models import aitm, esmm, shared_bottom, with_conditionals
from tfmtl.schema import Schema, Task

SCHEMA = Schema(FEATURES, [Task("click", mean=0.5), Task("buy", mean=0.2), Task("stars", "regression")])
CHAIN = ["click", "buy"]


@pytest.mark.parametrize("preset", [esmm, aitm])
def test_it_is_the_ratio_of_both_and_shares_every_weight(preset, tmp_path):
    model = preset(SCHEMA, CHAIN)
    model.compile(tfmtl.LazyAdam(0.1), **tfmtl.objectives(SCHEMA.tasks), run_eagerly=True)
    served, schema = with_conditionals(model, SCHEMA, {"cvr": ("buy", "click")})
    model.fit(ROWS, labels(SCHEMA), epochs=3, verbose=0)
    before, after = model.predict(ROWS, verbose=0), served.predict(ROWS, verbose=0)
    np.testing.assert_allclose(after["cvr"], np.minimum(before["buy"] / before["click"], 1), rtol=1e-5)
    for task in before:
        np.testing.assert_allclose(after[task], before[task], rtol=1e-5)
    assert len(served.weights) == len(model.weights)
    assert schema.task_names == ("click", "buy", "stars", "cvr")
    served.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(ROWS, verbose=0)["cvr"], after["cvr"], rtol=1e-5)


def test_of_esmm_it_is_what_the_tower_says():
    model = esmm(SCHEMA, CHAIN)
    served, _ = with_conditionals(model, SCHEMA, {"cvr": ("buy", "click")})
    streams = model.get_layer("trunk")(model.get_layer("bottom")(ROWS))
    wanted = model.get_layer("head").conditionals(streams)["buy"]
    np.testing.assert_allclose(served.predict(ROWS, verbose=0)["cvr"], np.asarray(wanted), rtol=1e-5)


def test_it_is_evaluated_where_the_earlier_step_happened():
    served, schema = with_conditionals(esmm(SCHEMA, CHAIN), SCHEMA, {"cvr": ("buy", "click")})
    assert schema.task("cvr") == Task("cvr", label="buy", sample_space="click", mean=0.4)
    y = {**labels(SCHEMA), "buy": np.array([0, 1, 0, 0, 0, 0, 0, 0], "float32")}
    y["cvr"] = np.where(y["click"] == 1, y["buy"], np.nan)
    figures = tfmtl.evaluate(served, tf.data.Dataset.from_tensor_slices((ROWS, y)).batch(4), schema)
    assert figures["cvr_rows"] == y["click"].sum() and figures["cvr_positives"] == 1


def test_an_impossible_earlier_step_gives_0_and_nothing_is_above_1():
    rates = tfmtl.layers.ConditionalRates({"cvr": ("buy", "click")})
    y = rates({"click": np.array([[0.0], [0.2], [0.4]], "float32"), "buy": np.array([[0.0], [0.5], [0.1]], "float32")})
    np.testing.assert_allclose(np.asarray(y["cvr"]), [[0], [1], [0.25]])


def test_exported_under_its_name_and_counted_in_a_score(tmp_path):
    model, schema = with_conditionals(esmm(SCHEMA, CHAIN), SCHEMA, {"cvr": ("buy", "click")})
    raw = {"item": [1, 2], "city": ["a", "b"], "age": [0.0, 1.0], "seen_item": [[1], [2]], "seen_kind": [[1], [2]]}
    score = tfmtl.Score({"click": 1.0, "cvr": 2.0})
    tfmtl.export(model, tmp_path / "ranker", schema, score=score)
    found = ExportedModel(tmp_path / "ranker")(raw)
    np.testing.assert_allclose(found["score"], found["click"] * found["cvr"] ** 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({}, "at least one"),
        ({"cvr": "buy"}, "at least one"),
        ({"cvr": ("buy", "buy")}, "at least one"),
        ({"cvr": ("buy", "nothing")}, "No such task"),
        ({"cvr": ("stars", "click")}, "two binary tasks"),
        ({"buy": ("buy", "click")}, "hold|twice|already"),
        ({"shared": ("buy", "click")}, "shared"),
    ],
)
def test_refuses_what_is_no_rate(rates, message):
    with pytest.raises(ValueError, match=message):
        with_conditionals(esmm(SCHEMA, CHAIN), SCHEMA, rates)


def test_refuses_a_step_that_is_over_clicked_rows_already():
    schema = Schema(FEATURES, [Task("click", mean=0.5), Task("buy", sample_space="click", mean=0.2)])
    with pytest.raises(ValueError, match="over the same rows: 'buy' is over click, 'click' over all rows"):
        with_conditionals(shared_bottom(schema, units=(4,)), schema, {"cvr": ("buy", "click")})

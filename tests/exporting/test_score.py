"""The fused score, by its formula, in the graph."""

import numpy as np
import pytest
import tensorflow as tf
from small_ranker import SCHEMA, random_rows, small_model
from tensorflow.core.protobuf import saved_model_pb2

from tfmtl.exporting.export import export
from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.exporting.score import Score
from tfmtl.models import shared_bottom
from tfmtl.schema import Categorical, Schema, Task

P = {"click": tf.constant([[0.5], [0.1]]), "buy": tf.constant([[0.25], [0.0]])}


def test_product_of_powers():
    score = Score({"click": 2.0, "buy": 0.5})(P)
    np.testing.assert_allclose(score, [[0.5**2 * 0.25**0.5], [0.1**2 * 1e-7**0.5]], rtol=1e-5)


def test_sum_of_logs_is_the_products_logarithm():
    weights = {"click": 2.0, "buy": -0.5}
    np.testing.assert_allclose(Score(weights, form="log")(P), np.log(Score(weights)(P)), rtol=1e-5)


def test_weights_at_request_time_replace_the_fixed_ones():
    score = Score({"click": 2.0, "buy": 0.5}, at_request=True)
    assert score.inputs == {"click_weight": 2.0, "buy_weight": 0.5}
    given = {"click_weight": tf.constant([1.0]), "buy_weight": tf.constant([0.0])}
    np.testing.assert_allclose(score(P, given), P["click"], rtol=1e-5)


def test_logs_keep_apart_what_a_product_cannot():
    many = {f"t{i}": tf.constant([[1e-6], [2e-6]]) for i in range(8)}
    weights = dict.fromkeys(many, 1.0)
    assert np.ptp(Score(weights)(many)) == 0
    assert np.ptp(Score(weights, form="log")(many)) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": {}}, "one task or more"),
        ({"weights": {"click": float("nan")}}, "finite"),
        ({"weights": {"click": 1.0}, "form": "mean"}, "form='mean'"),
        ({"weights": {"click": 1.0}, "floors": {"click": 0.0}}, "floors` must be above 0"),
        ({"weights": {"click": 1.0}, "floors": {"watch": 1.0}}, "of tasks that have a weight"),
        ({"weights": {"click": 1.0}, "floors": {"click": 1.0}, "form": "sum"}, "a sum needs none"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Score(**arguments)


def test_a_sum_takes_any_value_and_a_floor_is_what_less_counts_as():
    predictions = {"click": tf.constant([[0.5], [0.5]]), "watch": tf.constant([[-1.5], [4.0]])}
    weights = {"click": 2.0, "watch": 0.5}
    np.testing.assert_allclose(Score(weights, form="sum")(predictions), [[0.25], [3.0]], rtol=1e-6)
    floored = Score(weights, floors={"watch": 0.01})
    np.testing.assert_allclose(floored(predictions), [[0.25 * 0.1], [0.25 * 2]], rtol=1e-5)
    assert floored.to_dict()["floors"] == {"watch": 0.01}


@pytest.mark.parametrize("form", ["product", "log"])
def test_a_regression_without_a_floor_is_refused(form, tmp_path):
    schema = Schema([Categorical("item", num_ids=3)], [Task("click", mean=0.5), Task("watch", "regression", mean=1.0)])
    model = shared_bottom(schema, units=(2,), tower_units=())
    with pytest.raises(ValueError, match=r"floors=\{'watch': .*no floor of \['watch'\]"):
        export(model, tmp_path / "ranker", schema, score=Score({"click": 1.0, "watch": 1.0}, form=form))


def test_is_an_output_of_what_serves_all_tasks(loaded):
    rows = random_rows(8)
    answer = loaded(rows)
    np.testing.assert_allclose(answer["score"], answer["click"] * answer["buy"] ** 0.5, rtol=1e-5)
    assert "score" not in loaded(rows, "click")


def test_a_single_tasks_own_signature_has_no_score(tmp_path):
    loaded = ExportedModel(
        export(small_model(), tmp_path / "ranker", SCHEMA, tasks=["buy"], score=Score({"buy": 2.0}, form="log"))
    )
    rows = random_rows(8)
    assert set(loaded(rows, "buy")) == {"buy"}
    np.testing.assert_allclose(loaded(rows)["score"], 2 * np.log(loaded(rows)["buy"]), rtol=1e-4)


def test_rank_takes_weights_with_defaults(exported, loaded):
    rows = random_rows(8)
    rows |= {name: rows[name][:1] for name in ("city", "age", "seen_item", "seen_city")}
    answer = loaded({**rows, "click_weight": [0.0], "buy_weight": [3.0]}, "rank")
    np.testing.assert_allclose(answer["score"], answer["buy"] ** 3.0, rtol=1e-5)
    saved = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    defaults = saved.meta_graphs[0].signature_def["rank"].defaults
    weights = {name: value.float_val[0] for name, value in defaults.items() if name.endswith("_weight")}
    assert weights == {"click_weight": 1.0, "buy_weight": 0.5}

"""Tasks of classes, of distributions and of rankings from a table to an export, with all that looks at them on the way."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import requests
import tensorflow as tf
from harness import fit_callbackless

import tfmtl
from tfmtl import Categorical, Numeric, Schema, Task, losses
from tfmtl.exporting import ExportedModel, Score
from tfmtl.keras_host import keras
from tfmtl.models import shared_bottom
from tfmtl.serving.server import LocalServer
from tfmtl.training import objectives

RNG = np.random.default_rng(0)
ROWS = 300
X = RNG.normal(size=ROWS)
TABLE = pd.DataFrame(
    {
        "x": X,
        "user": RNG.integers(0, 20, ROWS),
        "click": (X + RNG.normal(size=ROWS) > 1).astype("int64"),
        "tier": np.array(["free", "plus", "pro"])[np.digitize(X + RNG.normal(size=ROWS), [-1, 1])],
        "stars": RNG.integers(0, 4, ROWS).astype(float),
        "spent": np.where(RNG.random(ROWS) < 0.5, np.exp(X), 0),
        "wait": X + RNG.normal(size=ROWS),
    }
)
TABLE.loc[::7, "tier"] = None
TABLE.loc[::5, "stars"] = np.nan
TASKS = [
    Task("click"),
    Task("tier", "multiclass", classes=("free", "plus", "pro"), ordered=True),
    Task("stars", "multiclass", num_classes=4),
    Task("spent", "regression", loss=losses.ZeroInflatedLogNormal()),
    Task("wait", "regression", loss=losses.Quantile((0.1, 0.5, 0.9))),
    Task("list", label="click", loss=losses.ListwiseSoftmax(), group="user"),
]
FEATURES = [Numeric("x", transform="standardize"), Categorical("user", vocabulary="adapt", dtype="int64", side="user")]
REFUSED = (ValueError, tf.errors.InvalidArgumentError)  # as a reader says it, and as TensorFlow wraps it
RAW = {"x": TABLE.x.to_numpy("float32"), "user": TABLE.user.to_numpy()}


def read(schema, **options):
    return tfmtl.read(TABLE, schema, batch_size=100, **options)


@pytest.fixture(scope="module")
def schema():
    schema = Schema(FEATURES, TASKS)
    return tfmtl.adapt(schema, read(schema), verbose=0)


@pytest.fixture(scope="module")
def data(schema):
    return read(schema, encode=True).cache()


@pytest.fixture(scope="module")
def trained(schema, data):
    model = shared_bottom(schema, units=(8,), tower_units=(4,))
    model.compile(keras.optimizers.Adam(0.01), **objectives(schema.tasks))
    return model, fit_callbackless(model, data, epochs=2)


def test_labels_by_value_by_index_and_with_their_groups(schema, data):
    (_, y), *_ = read(schema).unbatch().batch(ROWS)
    tier = TABLE.tier.map({"free": 0, "plus": 1, "pro": 2})
    np.testing.assert_array_equal(y["tier"], tier)
    np.testing.assert_array_equal(y["stars"], TABLE.stars)
    label, groups = y["list"][:, 0].numpy(), y["list"][:, 1:].numpy()
    np.testing.assert_array_equal(label, TABLE.click)
    same = (groups[:, None] == groups[None]).all(-1)
    np.testing.assert_array_equal(same, TABLE.user.to_numpy()[:, None] == TABLE.user.to_numpy()[None])
    np.testing.assert_allclose(
        schema.task("tier").class_rates, tier.value_counts(normalize=True).sort_index(), rtol=1e-6
    )
    assert Schema.from_json(schema.to_json()) == schema


def test_a_label_that_is_no_class_is_named():
    for task, found in (
        (Task("tier", "multiclass", classes=("free", "pro")), "plus"),
        (Task("stars", "multiclass", num_classes=3), "3"),
    ):
        with pytest.raises(
            REFUSED, match=rf"row \d+: column {task.name}, label of the multiclass task.*Received: {found}"
        ):
            list(read(Schema(FEATURES[:1], [task])))
    amounts = Schema(FEATURES[:1], [Task("wait", "regression", loss="poisson")])
    with pytest.raises(REFUSED, match="column wait, label of the regression task wait, must be 0 or more"):
        list(read(amounts))


def test_every_task_is_logged_and_evaluated(schema, data, trained):
    model, history = trained
    shown = {"tier_auc", "tier_accuracy", "spent_rmse", "wait_rmse", "list_auc", "list_logloss", "click_calibration"}
    assert shown | {f"{task.name}_loss" for task in TASKS} <= set(history)
    assert np.isfinite(history["loss"]).all()
    figures = tfmtl.evaluate(model, data, schema)
    predictions = {task: np.asarray(y) for task, y in model.predict(data.map(lambda x, y: x), verbose=0).items()}
    known = ~TABLE.stars.isna().to_numpy()
    assert figures["stars_accuracy"] == (predictions["stars"].argmax(1) == TABLE.stars)[known].mean()
    for task, column in (("spent", 0), ("wait", 1)):
        errors = predictions[task][:, column] - TABLE[task].to_numpy("float32")
        assert figures[f"{task}_rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)
    logs = model.evaluate(data, verbose=0, return_dict=True)
    for name in ("stars_accuracy", "tier_accuracy", "wait_rmse", "spent_rmse"):
        assert logs[name] == pytest.approx(figures[name], rel=1e-4)
    assert logs["stars_auc"] == pytest.approx(figures["stars_auc"], abs=2e-3)
    ranked = tfmtl.evaluate(model, data, schema, group="user", figures=("ndcg@5", "hit@1", "xauc"))
    assert {"click_ndcg@5", "list_hit@1", "wait_xauc"} <= set(ranked) and "stars_ndcg@5" not in ranked


def test_exported_and_served_as_documented(schema, trained, tmp_path):
    model, _ = trained
    kept = {"click": 0.25}
    chosen = ["serving_default", "classify", "rank"]
    options = {"examples": TABLE.head(40), "signatures": chosen}
    version = tfmtl.export(model, tmp_path / "ranker", schema, negatives_kept=kept, **options)
    exported = ExportedModel(version)
    answers = exported(RAW)
    plain = model(tfmtl.Preprocessor(schema.features)(RAW))
    for task, served in answers.items():
        expected = np.asarray(plain[task])
        if task == "click":
            expected = expected / (expected + (1 - expected) / 0.25)
        np.testing.assert_allclose(served, expected[:, : 1 if task == "spent" else None], rtol=1e-4, atol=1e-6)
    assert set(exported.signatures) == set(chosen)
    names = exported.signatures["classify"].structured_outputs["classes"]
    assert names.shape[1] == 1 + 3 + 4 + 1 + 3 + 1
    assert (
        "the probabilities of the classes free, plus, pro" in exported.card
        and "kept were 0.25 of click" in exported.card
    )
    assert exported.schema == schema
    with LocalServer({"ranker": tmp_path / "ranker"}, poll_interval=0) as server:
        examples = [{"x": float(RAW["x"][0]), "user": int(RAW["user"][0])}]
        asked = {"signature_name": "classify", "examples": examples}
        (classified,) = requests.post(f"{server.rest_url}/v1/models/ranker:classify", json=asked).json()["results"]
        asked = {"instances": examples}
        (predicted,) = requests.post(f"{server.rest_url}/v1/models/ranker:predict", json=asked).json()["predictions"]
    tiers = [dict(classified)[f"tier={tier}"] for tier in ("free", "plus", "pro")]
    np.testing.assert_allclose(tiers, answers["tier"][0], rtol=1e-5)
    np.testing.assert_allclose(predicted["stars"], answers["stars"][0], rtol=1e-5)
    np.testing.assert_allclose(
        [*predicted["spent"], dict(classified)["spent"]], np.tile(answers["spent"][0], 2), rtol=1e-5
    )


def test_what_an_export_refuses(schema, trained, tmp_path):
    model, _ = trained
    for options, message in (
        ({"score": Score({"stars": 1.0})}, r"tasks that serve one number. Received: \['stars'\]"),
        ({"negatives_kept": {"list": 0.5}}, "`negatives_kept` must give shares"),
        ({"negatives_kept": {"click": 0.0}}, "`negatives_kept` must give shares"),
    ):
        with pytest.raises(ValueError, match=message):
            tfmtl.export(model, tmp_path / "refused", schema, **options)
    wider = [dataclasses.replace(t, num_classes=5, class_rates=None) if t.name == "stars" else t for t in schema.tasks]
    with pytest.raises(ValueError, match=r"'stars' must be predicted as \(None, 5\)"):
        tfmtl.export(model, tmp_path / "refused", Schema(schema.features, wider))


def test_the_doctor_looks_at_all_of_them(schema, data, trained):
    found = tfmtl.diagnose(trained[0], data, schema)
    assert not [finding for finding in found if finding.severity == "error"]
    assert {f"auc/{task}" for task in ("click", "list")} <= set(found.measurements)


@pytest.mark.slow
def test_compared_with_twins(schema, tmp_path):
    def make(schema):
        return shared_bottom(schema, units=(4,), tower_units=())

    options = {"seeds": 1, "epochs": 1, "batch_size": 100, "learning_rates": (0.01,), "verbose": 0}
    report = tfmtl.compare(
        schema, {"shared": make}, TABLE, TABLE, TABLE, twin=make, folder=tmp_path / "runs", **options
    )
    again = tfmtl.compare(schema, {"shared": make}, TABLE, TABLE, TABLE, twin=make, folder=tmp_path / "runs", **options)
    assert str(again) == str(report) and "accuracy" in str(report)
    report.to_html(tmp_path / "report.html")


def test_units_of_losses(schema):
    """Entropy of the classes' rates; a loss of its own has none, and then nothing is weighed."""
    few = [schema.task("click"), schema.task("stars")]
    rates = np.array(schema.task("stars").class_rates)
    weights = objectives(few)["loss_weights"]
    assert weights["stars"] == pytest.approx(1 / -(rates * np.log(rates)).sum())
    assert set(objectives(schema.tasks)["loss_weights"].values()) == {1.0}
    with pytest.raises(ValueError, match=r"`normalize` needs labels.*'spent'.*a loss of its own"):
        objectives(schema.tasks, normalize=True)
    with pytest.raises(ValueError, match=r"decides what a task predicts.*give it to the task"):
        objectives(few, losses={"click": losses.PairwiseLogistic()})

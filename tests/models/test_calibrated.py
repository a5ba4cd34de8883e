"""Probabilities through curves that were fitted on held-out rows: against scikit-learn, saved, exported, refused."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_reloads
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

import tfmtl
from tfmtl import Numeric, Schema, Task
from tfmtl.exporting import ExportedModel
from tfmtl.keras_host import keras
from tfmtl.layers import ClassScaling, IsotonicCurve, PlattScaling
from tfmtl.losses import Quantile, ZeroInflatedLogNormal
from tfmtl.models import calibrated, single_task
from tfmtl.models.calibrating.isotonic import isotonic_points
from tfmtl.models.calibrating.platt import class_lines, platt_line

TASKS = [
    Task("click"),
    Task("buy"),
    Task("spend", "regression"),
    Task("tier", "multiclass", num_classes=3),
    Task("worth", "regression", loss=ZeroInflatedLogNormal()),
    Task("wait", "regression", loss=Quantile((0.5, 0.9))),
]
SCHEMA = Schema([Numeric("x", transform=None)], TASKS)
ROWS = 4000
RNG = np.random.default_rng(0)
X = {"x": RNG.normal(size=ROWS).astype("float32")}
LABELS = {
    "click": (RNG.random(ROWS) < 1 / (1 + np.exp(1 - 2 * X["x"]))).astype("float32"),
    "buy": np.where(RNG.random(ROWS) < 0.5, np.nan, RNG.random(ROWS) < 0.05).astype("float32"),
    "spend": X["x"],
    "tier": RNG.integers(0, 6, ROWS).clip(3).astype("float32") - 3,  # most of them 0
    "worth": np.where(RNG.random(ROWS) < 0.3, np.exp(X["x"]), 0).astype("float32"),
    "wait": np.abs(X["x"]),
}
WEIGHTS = RNG.uniform(0, 2, ROWS).astype("float32")


def held(*more):
    return tf.data.Dataset.from_tensor_slices((X, LABELS, *more)).batch(1000)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return single_task(SCHEMA, units=(4,), tower_units=())


@pytest.fixture(scope="module")
def served(model):
    methods = {"click": "isotonic", "buy": "platt", "tier": "platt", "worth": "isotonic"}
    return calibrated(model, held(), SCHEMA, method=methods)


def plain(rows=500):
    probabilities = RNG.random(rows).round(2)
    return (RNG.random(rows) < probabilities**2).astype("float64"), probabilities, RNG.uniform(0, 2, rows)


def test_isotonic_points_are_the_pools_of_scikit_learn():
    labels, probabilities, weights = plain()
    points = isotonic_points(labels, probabilities, weights)
    fitted = IsotonicRegression().fit(probabilities, labels, weights).predict(probabilities)
    pools = [np.isclose(fitted, rate, rtol=0, atol=1e-9) for rate in np.unique(fitted.round(12))]
    expected = []
    for rows in pools:
        found = np.unique(probabilities[rows])
        counts = np.array([weights[rows][probabilities[rows] == each].sum() for each in found])
        behind = np.array([counts[:place].sum() for place in range(len(found))])
        for share in (0.05, 0.95)[: len(found)]:
            expected.append((np.interp(share * behind[-1], behind, found), fitted[rows][0]))
    np.testing.assert_allclose(points.T, expected, rtol=1e-6, atol=1e-9)
    grid = np.linspace(-0.1, 1.1, 241)
    layer = IsotonicCurve(points.shape[1])
    layer.build((None, 1))
    np.testing.assert_allclose(np.asarray(layer(grid[:, None]))[:, 0], grid.clip(0, 1), atol=1e-6)
    layer.set_weights([points])
    np.testing.assert_allclose(np.asarray(layer(grid[:, None]))[:, 0], np.interp(grid, *points), atol=2e-6)
    np.testing.assert_array_equal(isotonic_points(np.array([1.0, 0]), np.array([0.3, 0.3]), np.ones(2))[1], 0.5)


def test_platts_line_is_that_of_scikit_learn():
    labels, probabilities, weights = plain()
    probabilities = probabilities.clip(0.01, 0.99)
    line = platt_line(labels, probabilities, weights)
    positives, negatives = weights[labels == 1].sum(), weights[labels == 0].sum()
    share = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    logits = np.log(probabilities / (1 - probabilities))[:, None]
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(
        np.tile(logits, (2, 1)),
        np.repeat([1, 0], len(labels)),
        np.concatenate([weights * share, weights * (1 - share)]),
    )
    np.testing.assert_allclose(line, [theirs.coef_[0, 0], theirs.intercept_[0]], rtol=1e-3, atol=1e-3)
    assert np.isfinite(platt_line(np.array([0.0, 1.0]), np.array([0.1, 0.9]), np.ones(2))).all()


def test_lines_of_classes_have_the_least_loss():
    """Against an optimizer that knows the loss alone; of two classes they are Platt's."""
    rows = 300
    logs = RNG.normal(size=(rows, 3)) - [0, 1, 2]
    probabilities = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
    labels, weights = RNG.integers(0, 3, rows).astype("float64"), RNG.uniform(0, 2, rows)
    counts = np.array([weights[labels == k].sum() for k in range(3)])

    def loss(lines):
        z = lines[0] * np.log(probabilities) + lines[1:]
        said = np.log(np.exp(z) / np.exp(z).sum(1, keepdims=True))
        truth = np.eye(3)[labels.astype(int)]
        targets = (truth * counts[labels.astype(int)][:, None] + 1) / (counts[labels.astype(int)][:, None] + 3)
        return -(weights[:, None] * targets * said).sum()

    lines = class_lines(labels, probabilities, weights)
    theirs = minimize(loss, [1.0, 0, 0, 0]).x
    np.testing.assert_allclose(lines[0], theirs[0], atol=1e-3)
    np.testing.assert_allclose(lines[1:], theirs[1:] - theirs[1:].mean(), atol=1e-3)
    labels, p, weights = plain()
    p = p.clip(0.01, 0.99)
    two, one = ClassScaling(2), PlattScaling()
    for layer, fitted, width in (
        (two, class_lines(labels, np.stack([1 - p, p], 1), weights), 2),
        (one, platt_line(labels, p, weights), 1),
    ):
        layer.build((None, width))
        layer.set_weights([fitted])
    found = np.asarray(two(np.stack([1 - p, p], 1).astype("float32")))
    np.testing.assert_allclose(found[:, 1:], np.asarray(one(p[:, None].astype("float32"))), rtol=1e-4)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_classes_and_means_are_right_on_average(model, served):
    before, after = ({name: np.asarray(y) for name, y in each(X).items()} for each in (model, served))
    rates = [(LABELS["tier"] == k).mean() for k in range(3)]
    np.testing.assert_allclose(after["tier"].mean(0), rates, atol=1e-3)
    assert np.abs(before["tier"].mean(0) - rates).max() > 0.05
    mean = LABELS["worth"].mean()
    mean_after, mean_before = after["worth"][:, 0].mean(), before["worth"][:, 0].mean()
    assert mean_after == pytest.approx(mean, rel=0.04)  # a twentieth of a pool lies on the line from its neighbour
    assert mean_before != pytest.approx(mean, rel=0.1)
    np.testing.assert_array_equal(after["worth"][:, 1:], before["worth"][:, 1:])
    assert (np.diff(after["worth"][np.argsort(before["worth"][:, 0]), 0]) >= -1e-6).all()  # rows keep their order
    everything = calibrated(model, held(), SCHEMA)(X)
    changed = [name for name, y in everything.items() if not np.array_equal(np.asarray(y), before[name])]
    assert sorted(changed) == ["buy", "click", "spend", "worth"]


def test_probabilities_come_true_as_often_as_they_say(model, served):
    names = ("calibration", "logloss", "ece")
    before, after = (tfmtl.evaluate(each, held(), SCHEMA, figures=names) for each in (model, served))
    for task in ("click", "buy"):
        assert after[f"{task}_calibration"] == pytest.approx(1, abs=0.02)
        assert after[f"{task}_logloss"] < before[f"{task}_logloss"]
        assert after[f"{task}_ece"] < 0.02 < before[f"{task}_ece"]
    np.testing.assert_array_equal(served(X)["spend"], model(X)["spend"])  # which none was asked for
    assert {id(weight) for weight in model.weights} < {id(weight) for weight in served.weights}
    assert len(served.trainable_weights) == len(model.trainable_weights)


def test_rows_count_by_their_weights(model):
    twice = np.where(LABELS["click"] == 1, 2.0, 1.0).astype("float32")
    weighted = calibrated(model, held(twice), SCHEMA, method={"click": "platt"})
    labels, p = LABELS["click"], np.asarray(weighted(X)["click"])[:, 0]
    assert np.average(p, weights=twice) == pytest.approx(np.average(labels, weights=twice), rel=1e-2)


def test_saved_and_exported_with_its_curves(served, tmp_path):
    few = {"x": X["x"][:50]}
    assert_reloads(served, few, tmp_path)
    version = tfmtl.export(served, tmp_path / "ranker", SCHEMA, examples=few, signatures=["serving_default"])
    answers = ExportedModel(version)(few)
    for task, expected in served(few).items():
        served_columns = SCHEMA.task(task).output.served  # of a zero-inflated value its mean alone
        np.testing.assert_allclose(answers[task], np.asarray(expected)[:, :served_columns], rtol=1e-4, atol=1e-5)


WRONG = [
    ({"method": {"spend": "platt"}}, r"'platt' \['click', 'buy', 'tier'\]"),
    ({"method": {"tier": "isotonic"}}, "The classes of a task go with 'platt'"),
    ({"method": {"wait": "isotonic"}}, "quantiles and scores that rank with neither"),
    ({"method": "beta"}, "`method` must be one of"),
    ({"held": [(X, {**LABELS, "buy": np.zeros(ROWS)})]}, "task 'buy' needs rows of two labels"),
    ({"method": "platt", "held": [(X, {**LABELS, "tier": LABELS["tier"] % 2})]}, "needs rows of all 3 classes"),
    ({"held": []}, "gave no batch"),
    ({"held": [(X, {"click": LABELS["click"]})]}, r"lacks columns or labels: \['buy', 'spend', 'worth'\]"),
    ({"held": [(X, LABELS, {"click": WEIGHTS})]}, r"lacks weights: \['buy', 'spend', 'worth'\]"),
    ({"held": [X]}, "must give batches"),
    ({"held": [(X, {**LABELS, "click": LABELS["click"] + 2})]}, "labels of `click` must be 0, 1"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_bad_input_is_refused_in_words(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        calibrated(model, **{"held": held(), "schema": SCHEMA, **arguments})

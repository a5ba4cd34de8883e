"""Metrics of Keras over the rows that have a label, against scikit-learn and Keras itself."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_score, roc_auc_score

from tfmtl.keras_host import keras
from tfmtl.metrics import MaskedKerasMetric

NAN = float("nan")
METRICS = [
    "AUC",
    "Precision",
    "Recall",
    "BinaryAccuracy",
    "MeanAbsoluteError",
    "RootMeanSquaredError",
    "BinaryCrossentropy",
]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400).astype("float32")
    predictions = np.clip(0.3 * labels + rng.uniform(0, 0.7, 400), 0, 1).astype("float32")
    missing = rng.random(400) < 0.4
    return np.where(missing, NAN, labels), np.where(missing, NAN, predictions), rng.uniform(0, 3, 400).astype("float32")


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_keras_over_the_labelled_rows(name, weighted, rows):
    labels, predictions, weights = rows
    ours, theirs = MaskedKerasMetric(getattr(keras.metrics, name)()), getattr(keras.metrics, name)()
    for part in (slice(0, 150), slice(150, 400)):
        valid = ~np.isnan(labels[part])
        of_part = weights[part] if weighted else None
        ours.update_state(labels[part], predictions[part, None], of_part)
        theirs.update_state(
            labels[part][valid][:, None], predictions[part][valid][:, None], of_part[valid] if weighted else None
        )
    np.testing.assert_allclose(float(ours.result()), float(theirs.result()), rtol=1e-5)
    ours.reset_state()
    ours.update_state([1.0, 0.0], [0.9, 0.1])
    theirs.reset_state()
    theirs.update_state([[1.0], [0.0]], [[0.9], [0.1]])
    np.testing.assert_allclose(float(ours.result()), float(theirs.result()), rtol=1e-5)


def test_equals_scikit_learn(rows):
    labels, predictions, weights = rows
    valid = ~np.isnan(labels)
    found = {
        "roc": (keras.metrics.AUC(2000), roc_auc_score),
        "pr": (keras.metrics.AUC(2000, curve="PR"), average_precision_score),
        "precision": (keras.metrics.Precision(), lambda y, p, **w: precision_score(y, p > 0.5, **w)),
    }
    for metric, reference in found.values():
        streamed = MaskedKerasMetric(metric, "binary")
        streamed.update_state(labels, predictions, weights)
        expected = reference(labels[valid], predictions[valid], sample_weight=weights[valid])
        assert float(streamed.result()) == pytest.approx(expected, abs=2e-3)


def test_takes_functions_and_names(rows):
    labels, predictions, _ = rows
    expected = np.nanmean(np.abs(labels - predictions))
    for metric in (keras.losses.mean_absolute_error, "mae", "MeanAbsoluteError"):
        streamed = MaskedKerasMetric(metric)
        streamed.update_state(labels, predictions)
        np.testing.assert_allclose(float(streamed.result()), expected, rtol=1e-5)
    accuracy = MaskedKerasMetric("accuracy", "binary")
    accuracy.update_state(labels, predictions)
    np.testing.assert_allclose(float(accuracy.result()), np.mean(((predictions > 0.5) == labels)[~np.isnan(labels)]))
    assert accuracy.name == "accuracy"


@pytest.mark.parametrize("metric", [keras.metrics.Mean(), keras.metrics.Sum()])
def test_refuses_metrics_of_one_column(metric):
    with pytest.raises(
        ValueError, match=f"update_state.y_true, y_pred, sample_weight.*Received: metric='{metric.name}'"
    ):
        MaskedKerasMetric(metric)


def test_refuses_metrics_without_weights():
    class Counting(keras.metrics.Metric):
        def update_state(self, y_true, y_pred):
            pass

        def result(self):
            return 0.0

    with pytest.raises(ValueError, match=r"metric='counting', which takes .'y_true', 'y_pred'"):
        MaskedKerasMetric(Counting(name="counting"))


def test_config_round_trip(rows):
    labels, predictions, _ = rows
    original = MaskedKerasMetric(keras.metrics.AUC(curve="PR", num_thresholds=50), "binary", "mine")
    again = keras.metrics.deserialize(keras.metrics.serialize(original))
    assert (type(again), again.name, again.kind) == (MaskedKerasMetric, "mine", "binary")
    for metric in (original, again):
        metric.update_state(labels, predictions)
    assert float(again.result()) == float(original.result())

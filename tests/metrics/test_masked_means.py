"""Log loss, calibration and RMSE against scikit-learn and NumPy, and what all metrics promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, root_mean_squared_error

from tfmtl.keras_host import keras
from tfmtl.metrics import MaskedAUC, MaskedCalibration, MaskedLogLoss, MaskedRootMeanSquaredError

NAN = float("nan")
MEANS = [MaskedLogLoss, MaskedCalibration, MaskedRootMeanSquaredError]
REFERENCE = {
    MaskedLogLoss: lambda y, p, w: log_loss(y, p, sample_weight=w, labels=[0, 1]),
    MaskedCalibration: lambda y, p, w: np.average(p, weights=w) / np.average(y, weights=w) if (y * w).any() else NAN,
    MaskedRootMeanSquaredError: lambda y, p, w: root_mean_squared_error(y, p, sample_weight=w),
}


@pytest.mark.parametrize("metric", MEANS)
@pytest.mark.parametrize("weighted", [False, True])
@settings(deadline=None, max_examples=25)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.floats(0.001, 0.999), st.floats(0.01, 4)),
        min_size=1,
        max_size=40,
    ),
    batch=st.integers(1, 40),
)
def test_follows_the_equation(metric, weighted, rows, batch):
    labels, predictions, weights = np.array(rows, "float32").T
    streamed = metric()
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        streamed.update_state(labels[part], predictions[part, None], weights[part] if weighted else None)
    valid = ~np.isnan(labels)
    weights = weights if weighted else np.ones_like(weights)
    expected = (
        REFERENCE[metric](*(v[valid].astype("float64") for v in (labels, predictions, weights))) if valid.any() else NAN
    )
    np.testing.assert_allclose(float(streamed.result()), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", MEANS)
def test_is_nan_without_labels(metric):
    empty = metric()
    assert np.isnan(empty.result())
    empty.update_state([NAN, NAN], [0.1, NAN])
    assert np.isnan(empty.result())


def test_calibration_without_a_positive_is_undefined():
    metric = MaskedCalibration()
    metric.update_state([0.0, 0.0], [0.1, 0.2])
    assert np.isnan(metric.result())


@pytest.mark.parametrize("metric", MEANS)
def test_a_nan_prediction_is_not_hidden(metric):
    streamed = metric()
    streamed.update_state([1.0, 0.0], [NAN, 0.1])
    assert np.isnan(streamed.result())
    streamed.reset_state()
    streamed.update_state([NAN, 1.0], [NAN, 0.5])
    assert np.isfinite(streamed.result())


@pytest.mark.parametrize("prediction", [0.0, 1.0])
def test_log_loss_of_a_certain_mistake_is_finite(prediction):
    metric = MaskedLogLoss()
    metric.update_state([1 - prediction], [prediction])
    assert float(metric.result()) == pytest.approx(-np.log(1e-7), rel=0.02)


@pytest.mark.parametrize("metric", [*MEANS, MaskedAUC])
def test_keeps_one_variable_and_float32_results(metric):
    streamed = metric()
    assert len(streamed.variables) == 1
    assert np.asarray(streamed.result()).dtype == np.float32


@pytest.mark.parametrize("metric", MEANS)
def test_config_round_trip(metric):
    again = keras.metrics.deserialize(keras.metrics.serialize(metric(name="mine")))
    assert (type(again), again.name) == (metric, "mine")
    again.update_state([1.0, 0.0], [0.75, 0.5])
    assert np.isfinite(again.result())

"""GlobalBatchNormalization against its equations: batches, padding, and averages that are right from the first step on."""

import numpy as np
import pytest
from harness import assert_reloads
from references import assert_follows, shaken

from tfmtl.keras_host import dtype_of, keras
from tfmtl.layers import MLP, GlobalBatchNormalization


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(2, 3, size=(6, 4, 5)).astype("float32")


def normalized(layer, x, mean, variance, value):
    return value(layer.gamma) * (x - mean) / np.sqrt(variance + 1e-3) + value(layer.beta)


@pytest.mark.parametrize("masked", [False, True])
def test_follows_the_equation(x, masked):
    mask = np.arange(4) < np.array([4, 3, 1, 0, 2, 4])[:, None]
    layer = GlobalBatchNormalization()
    layer(x)
    seen = x[mask] if masked else x.reshape(-1, 5)
    given = mask if masked else None
    assert_follows(
        shaken(layer),
        lambda built: built(x, training=True, mask=given),
        lambda value: normalized(layer, x, seen.mean(0), seen.var(0), value),
    )
    still = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    assert_follows(layer, lambda built: built(x), lambda value: normalized(layer, x, *still, value))


def test_averages_hold_nothing_of_their_start(x):
    """After any number of steps: the means of the batches, weighted by rows and age."""
    layer = GlobalBatchNormalization(momentum=0.8)
    batches = [x[:, 0], x[:3, 1] + 1, np.zeros((0, 5), "float32"), 4 * x[:, 2]]
    np.testing.assert_allclose(np.asarray(layer(batches[0])), batches[0], rtol=1e-3)
    for steps in range(1, 5):
        layer(batches[steps - 1], training=True)
        seen = [batch for batch in batches[:steps] if len(batch)]
        weights = [0.8 ** (len(seen) - 1 - place) * len(batch) for place, batch in enumerate(seen)]
        mean = np.average([batch.mean(0) for batch in seen], axis=0, weights=weights)
        variance = np.average([batch.var(0) for batch in seen], axis=0, weights=weights)
        np.testing.assert_allclose(np.asarray(layer.moving_mean), mean, rtol=1e-4)
        np.testing.assert_allclose(np.asarray(layer.moving_variance), variance, rtol=1e-4)
    layer.trainable = False
    layer(x, training=True)
    np.testing.assert_allclose(np.asarray(layer.moving_mean), mean, rtol=1e-4)


def test_reloads(x, tmp_path):
    inputs = keras.Input((5,), name="x")
    model = keras.Model({"x": inputs}, {"y": MLP([4], batch_norm=True)(inputs)})
    model.compile("sgd", loss="mse")
    model.fit({"x": x[:, 0]}, {"y": np.ones((6, 4))}, verbose=0)
    assert_reloads(model, {"x": x[:, 0]}, tmp_path)
    half = GlobalBatchNormalization(dtype="mixed_bfloat16")
    assert dtype_of(half(x, training=True)) == "bfloat16"
    assert {dtype_of(weight) for weight in half.weights} == {"float32"}


def test_refuses():
    for options in ({"momentum": 1}, {"epsilon": 0}):
        with pytest.raises(ValueError, match="Received"):
            GlobalBatchNormalization(**options)

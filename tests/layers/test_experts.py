"""Experts against one MLP each, and what Keras asks of a layer."""

import numpy as np
import pytest
from harness import assert_all_trained, ops

from tfmtl.keras_host import keras
from tfmtl.layers.experts import Experts


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(6, 10)).astype("float32")


def reference(layer, x):
    """Expert by expert, layer by layer."""
    outputs = []
    for i in range(layer.num):
        kernels = [
            np.split(np.asarray(layer.kernels[0]), layer.num)[i].T,
            *(np.asarray(k)[i] for k in layer.kernels[1:]),
        ]
        biases = [np.split(np.asarray(layer.biases[0]), layer.num)[i], *(np.asarray(b)[i] for b in layer.biases[1:])]
        h = x
        for kernel, bias in zip(kernels, biases, strict=True):
            h = np.maximum(h @ kernel + bias, 0)
        outputs.append(h)
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize("units", [5, (5,), (7, 5), (4, 6, 5)])
def test_follows_the_equation(x, units):
    layer = Experts(3, units)
    layer(x)
    layer.set_weights([w + 0.1 for w in layer.get_weights()])  # biases that count
    y = np.asarray(layer(x))
    assert y.shape == (6, 3, 5) == (6, *layer.compute_output_shape((6, 10))[1:])
    np.testing.assert_allclose(y, reference(layer, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", [None, 11])
def test_no_two_experts_start_equal(x, seed):
    y = np.asarray(
        Experts(4, (8, 8), kernel_initializer=keras.initializers.GlorotUniform(seed=seed), activation=None)(x)
    )
    for i in range(4):
        for j in range(i):
            assert np.abs(y[:, i] - y[:, j]).max() > 1e-3


def test_every_variable_is_trained(x):
    layer = Experts(3, (7, 5), activation="tanh")
    layer(x)
    assert_all_trained(layer, lambda: ops.sum(layer(x) ** 2))


def test_dropout_acts_in_training_only(x):
    layer = Experts(3, 50, dropout=0.5)
    quiet = np.asarray(layer(x, training=False))
    noisy = np.asarray(layer(x, training=True))
    np.testing.assert_array_equal(quiet, np.asarray(layer(x)))
    assert ((noisy == 0) & (quiet > 0)).mean() > 0.1


def test_config_round_trip(x):
    layer = Experts(3, (7, 5), activation="tanh", dropout=0.1)
    layer(x)
    twin = Experts.from_config(layer.get_config())
    twin(x)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(twin(x)), np.asarray(layer(x)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 4), "num=0"), ((2, ()), "units"), ((2, (4, 0)), r"units=\(4, 0\)"), ((2.0, 4), "num=2.0")],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Experts(*arguments)


def test_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match=r"must be \(B, D\). Received: shape=\(2, 3, 6\)"):
        Experts(2, 4)(np.ones((2, 3, 6), "float32"))

"""MLP and Gate against NumPy."""

import numpy as np
import pytest
from harness import assert_all_trained, ops

from tfmtl.keras_host import keras
from tfmtl.layers.gate import Gate
from tfmtl.layers.mlp import MLP


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(6, 10)).astype("float32")


def test_mlp_follows_the_equation(x):
    layer = MLP([7, 5])
    y = np.asarray(layer(x))
    first, first_bias, second, second_bias = layer.get_weights()
    expected = np.maximum(np.maximum(x @ first + first_bias, 0) @ second + second_bias, 0)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_mlp_without_units_passes_on(x):
    np.testing.assert_array_equal(np.asarray(MLP([])(x)), x)


def test_seeded_mlp_layers_differ(x):
    layer = MLP([10, 10], kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    layer(x)
    assert np.abs(layer.get_weights()[0] - layer.get_weights()[2]).max() > 0.01


@pytest.mark.parametrize(
    "options", [{}, {"batch_norm": True}, {"dropout": 0.2, "activation": "tanh", "use_bias": False}]
)
def test_mlp_config_round_trip(x, options):
    layer = MLP([7, 5], **options)
    layer(x)
    twin = MLP.from_config(layer.get_config())
    twin(x)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(twin(x)), np.asarray(layer(x)))


def test_batch_norm_sees_training(x):
    layer = MLP([4], batch_norm=True)
    layer(x)
    trained = np.asarray(layer(x, training=True))
    np.testing.assert_allclose(trained.mean(0), 0, atol=1e-5)


@pytest.mark.parametrize(
    "arguments", [{"units": [0]}, {"units": [4], "dropout": 1.0}, {"units": [2.5]}, {"units": 2.5}]
)
def test_mlp_refuses(arguments):
    with pytest.raises(ValueError, match="Received"):
        MLP(**arguments)


def test_widths_of_numpy_are_plain():
    assert [type(width) for width in (*MLP(np.int64(4)).units, *MLP(np.array([3, 2])).units)] == [int] * 3


def test_gate_follows_the_equation(x):
    gate = Gate(4)
    y = np.asarray(gate(x))
    logits = x @ gate.get_weights()[0]
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-6)


def test_gate_with_hidden_layer_and_bias(x):
    gate = Gate(4, units=[8], use_bias=True)
    assert np.asarray(gate(x)).shape == (6, 4)
    assert [w.shape for w in gate.get_weights()] == [(10, 8), (8,), (8, 4), (4,)]
    assert_all_trained(gate, lambda: ops.sum(gate(x)[:, 0] ** 2))


def test_gate_is_computed_in_float32(x):
    exact, half = Gate(4), Gate(4, dtype="mixed_float16")
    exact(x), half(x)
    half.set_weights(exact.get_weights())
    np.testing.assert_allclose(np.asarray(half(x), "float32"), np.asarray(exact(x)), atol=2e-3)
    assert np.isfinite(np.asarray(half(x * 1e3), "float32")).all()


def test_gate_refuses_no_candidate():
    with pytest.raises(ValueError, match="num=0"):
        Gate(0)


def test_mlp_keeps_a_mask():
    ids = keras.Input((3,), dtype="int32")
    events = keras.layers.Embedding(5, 6, mask_zero=True)(ids)
    pooled = keras.layers.GlobalAveragePooling1D()(MLP([4])(events))
    model = keras.Model(ids, pooled)
    long, short = np.array([[2, 0, 0]], "int32"), np.array([[2, 2, 2]], "int32")
    np.testing.assert_allclose(np.asarray(model(long)), np.asarray(model(short)), rtol=1e-6)


def test_gate_takes_counts_of_numpy(x):
    assert Gate(np.int64(3))(x).shape[-1] == 3

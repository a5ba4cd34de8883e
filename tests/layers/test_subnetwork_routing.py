"""SubnetworkRouting and SNR against their equations."""

import numpy as np
import pytest
from harness import assert_all_trained, assert_reloads, gradients, ops
from references import assert_follows, relu, shaken, sigmoid

from tfmtl.keras_host import keras
from tfmtl.layers import SubnetworkRouting
from tfmtl.stages import SNR
from tfmtl.typing import SHARED

TASKS = ("buy", "click")


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(6, 3, 5)).astype("float32")


@pytest.fixture
def streams():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(6, 5)).astype("float32") for name in (*TASKS, SHARED)}


def routed(layer, x, value):
    x = x.astype("float64")  # NumPy 1 takes a float64 scalar times a float32 array for float32
    z = np.clip(sigmoid(value(layer.log_alpha)) * 1.2 - 0.1, 0, 1)
    if layer.units is None:
        return np.einsum("ij,bjd->bid", z, x)
    kernels, biases = np.split(value(layer.kernel), layer.num, axis=1), value(layer.bias)
    rows = []
    for i, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        if layer.connection == "average":
            rows.append(sum(z[i, j] * x[:, j] for j in range(x.shape[1])) @ kernel + bias)
        else:
            parts = np.split(kernel, x.shape[1])  # W_ij
            rows.append(sum(z[i, j] * x[:, j] @ parts[j] for j in range(x.shape[1])) + bias)
    y = np.stack(rows, 1)
    return relu(y) if layer.activation is keras.activations.relu else y


@pytest.mark.parametrize(
    "options", [{"units": 4}, {"units": 4, "connection": "average"}, {"units": None, "connection": "average"}], ids=str
)
def test_follows_the_equations(x, options):
    layer = SubnetworkRouting(2, activation="relu" if options["units"] else None, **options)
    layer(x)
    assert_follows(shaken(layer), lambda built: built(x), lambda value: routed(layer, x, value))


def test_noise_is_that_of_the_hard_concrete_distribution():
    """Drawn often, connections are closed, open, and in between as often as the distribution says."""
    layer = SubnetworkRouting(200, connection="average", temperature=0.5)
    layer.build((None, 100, 5))
    layer.log_alpha.assign(np.full((200, 100), 0.4, "float32"))
    keras.utils.set_random_seed(3)
    z = np.asarray(layer.connections(training=True))
    chance_open = sigmoid(0.4 - 0.5 * np.log(0.1 / 1.1))  # P(z > 0)
    chance_full = sigmoid(0.4 - 0.5 * np.log(1.1 / 0.1))  # P(z = 1), by the same quantiles
    assert abs((z > 0).mean() - chance_open) < 0.01 and abs((z == 1).mean() - chance_full) < 0.01
    assert np.abs(z - np.asarray(layer.connections(training=True))).max() > 0.5
    still = np.asarray(layer.connections())
    np.testing.assert_allclose(still, np.clip(sigmoid(0.4) * 1.2 - 0.1, 0, 1), rtol=1e-5)


def test_what_is_closed_gets_and_gives_nothing(x):
    layer = SubnetworkRouting(2, 4, activation=None)
    layer(x)
    layer.log_alpha.assign(np.array([[9.0, -9.0, 0.0], [0.0, 0.0, -9.0]], "float32"))
    (slope,) = gradients(lambda: ops.sum(layer(x) ** 2), [layer.kernel])
    reached = np.abs(slope).reshape(3, 5, 2, 4).max((1, 3)) > 0  # (J, I)
    np.testing.assert_array_equal(reached.T, [[True, False, True], [True, True, False]])


def test_penalty_is_the_chance_to_be_open(x):
    layer = SubnetworkRouting(2, 4, sparsity=0.5)
    layer(x)
    shaken(layer)
    alpha = np.asarray(ops.convert_to_tensor(layer.log_alpha), "float64")
    expected = 0.5 * sigmoid(alpha - 2 / 3 * np.log(0.1 / 1.1)).sum()
    np.testing.assert_allclose(float(sum(layer.losses)), expected, rtol=1e-5)
    assert not SubnetworkRouting(2, 4, sparsity=0).losses


@pytest.mark.parametrize("connection", ["transform", "average"])
def test_trunk_follows_its_levels_and_reloads(streams, connection, tmp_path):
    trunk = SNR((4, 3), num_subnetworks=3, connection=connection, dropout=0.1)
    inputs = {name: keras.Input((5,), name=name) for name in streams}
    model = keras.Model(inputs, trunk(inputs))

    def reference(value):
        first = trunk.first
        kernels, biases = np.split(value(first.kernels[0]), 3), np.split(value(first.biases[0]), 3)
        e = np.stack([relu(streams[SHARED] @ k.T + b) for k, b in zip(kernels, biases, strict=True)], 1)
        y = routed(trunk.to_tasks, routed(trunk.levels[0], e, value), value)
        return {task: y[:, t] for t, task in enumerate(TASKS)}

    assert_follows(shaken(trunk), lambda built: built(streams), reference)
    assert_all_trained(model, lambda: sum(ops.sum(y**2) for y in model(streams, training=True).values()))
    assert [tuple(z.shape) for z in trunk.connections()] == [(3, 3), (2, 3)]
    assert_reloads(model, streams, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": None}, "needs `units`"),
        ({"connection": "mean"}, "connection='mean'"),
        ({"temperature": 0}, "temperature=0"),
        ({"low": 0.1}, "low=0.1"),
        ({"sparsity": -1}, "sparsity=-1"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        SubnetworkRouting(2, **{"units": 4, **options})

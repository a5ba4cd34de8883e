"""StarDense, PartitionedNormalization and STARHead against their equations and routes."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_reloads, gradients, ops
from references import assert_follows, relu, shaken, sigmoid

from tfmtl.keras_host import keras
from tfmtl.layers import PartitionedNormalization, StarDense
from tfmtl.schema import Task
from tfmtl.stages import STARHead
from tfmtl.typing import SCENARIO

IDS = np.array([1, 2, 1, 0, 2, 1, 2, 0, 1])
"""Scenario 3 has no row; 0 are those of unknown ids."""
ONE_HOT = np.eye(4, dtype="float32")[IDS]
TASKS = [Task("click", mean=0.3), Task("watch", "regression", mean=2.0)]


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(1, 2, size=(len(IDS), 5)).astype("float32")


def star(layer, x, value):
    rows = [
        x[i] @ (value(layer.kernel) * value(layer.kernels)[p]) + value(layer.bias) + value(layer.biases)[p]
        for i, p in enumerate(IDS)
    ]
    return relu(np.stack(rows))


def moments(x):
    """Of all rows for the unknown scenario, of its own for every other."""
    members = [np.ones(len(IDS), bool), *(p == IDS for p in (1, 2, 3))]
    return [(x[rows].mean(0), x[rows].var(0)) if rows.any() else (np.zeros(5), np.ones(5)) for rows in members]


def normalized(layer, x, value, of):
    mean, variance = (np.stack(each)[IDS] for each in zip(*of, strict=True))
    gammas, betas = value(layer.gammas)[IDS], value(layer.betas)[IDS]
    return value(layer.gamma) * gammas * (x - mean) / np.sqrt(variance + 1e-3) + value(layer.beta) + betas


def test_star_dense_follows_the_equation(x):
    layer = StarDense(3)
    layer([x, ONE_HOT])
    assert_follows(shaken(layer), lambda built: built([x, ONE_HOT]), lambda value: star(layer, x, value))


def test_a_scenario_that_was_never_seen_answers_by_the_shared_part(x):
    layer, plain = StarDense(3), keras.layers.Dense(3, activation="relu")
    y = layer([x, ONE_HOT])
    plain(x)
    plain.set_weights([np.asarray(layer.kernel), np.asarray(layer.bias)])
    np.testing.assert_allclose(np.asarray(y), np.asarray(plain(x)), rtol=1e-5, atol=1e-6)


def test_rows_teach_the_shared_kernel_and_that_of_their_scenario(x):
    layer = StarDense(3, activation=None)
    layer([x, ONE_HOT])
    first = ops.convert_to_tensor(np.eye(len(IDS), dtype="float32")[:1])  # row 0, of scenario 1
    parts = [layer.kernel, layer.kernels, layer.biases]
    shared, own, bias = gradients(lambda: ops.sum(ops.matmul(first, layer([x, ONE_HOT]))), parts)
    assert np.abs(shared).max() > 0
    assert (
        [bool(np.abs(g).max() > 0) for g in own]
        == [bool(np.abs(g).max() > 0) for g in bias]
        == [False, True, False, False]
    )


def test_normalisation_follows_the_equation(x):
    layer = PartitionedNormalization(momentum=0.9)
    layer([x, ONE_HOT])
    assert_follows(
        shaken(layer),
        lambda built: built([x, ONE_HOT], training=True),
        lambda value: normalized(layer, x, value, moments(x)),
    )
    still = list(zip(np.asarray(layer.moving_mean), np.asarray(layer.moving_variance), strict=True))
    assert_follows(layer, lambda built: built([x, ONE_HOT]), lambda value: normalized(layer, x, value, still))


def test_slopes_go_through_the_statistics(x):
    """By differences of the equation over the input: a batch normalisation that held its statistics would fail."""
    layer = PartitionedNormalization()
    layer([x, ONE_HOT])
    shaken(layer)
    random = np.random.default_rng(1)
    share, way = random.normal(size=x.shape), random.normal(size=x.shape)
    given = tf.Variable(x)
    weights = ops.convert_to_tensor(share, "float32")
    (slope,) = gradients(
        lambda: ops.sum(weights * layer([tf.convert_to_tensor(given), ONE_HOT], training=True)), [given]
    )

    def value(variable):
        return np.asarray(ops.convert_to_tensor(variable), "float64")

    def said(at):
        return (share * normalized(layer, at, value, moments(at))).sum()

    expected = (said(x + 1e-5 * way) - said(x - 1e-5 * way)) / 2e-5
    np.testing.assert_allclose((slope * way).sum(), expected, rtol=1e-4)


def test_moving_averages_are_means_of_what_was_seen(x):
    """Weighted by rows and age, from the first step on; a scenario without rows keeps what it had."""
    layer = PartitionedNormalization(momentum=0.9)
    layer([x, ONE_HOT])
    steps = [
        (x, ONE_HOT),
        (2 * x + 1, ONE_HOT),
        (x[:4] - 3, ONE_HOT[:4]),
    ]  # of the last one's rows two are of 1, one of 2
    for rows, scenario in steps:
        layer([rows, scenario], training=True)
    for p in range(4):
        found = [rows[scenario[:, p] == 1] if p else rows for rows, scenario in steps]
        seen = [each for each in found if len(each)]
        weights = [0.9 ** (len(seen) - 1 - age) * len(each) for age, each in enumerate(seen)]
        mean = np.average([each.mean(0) for each in seen], axis=0, weights=weights) if seen else np.zeros(5)
        variance = np.average([each.var(0) for each in seen], axis=0, weights=weights) if seen else np.ones(5)
        np.testing.assert_allclose(np.asarray(layer.moving_mean)[p], mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.asarray(layer.moving_variance)[p], variance, rtol=1e-4, atol=1e-5)
    layer.trainable = False
    before = np.asarray(layer.moving_mean).copy()
    layer([x, ONE_HOT], training=True)
    np.testing.assert_array_equal(np.asarray(layer.moving_mean), before)


def test_head_follows_the_equations(x):
    head = STARHead(TASKS, units={"click": (4, 3), "watch": ()}, auxiliary_units=(2,), scenario_dim=3)
    given = {"click": x, "watch": x[:, :3], SCENARIO: ONE_HOT}
    head(given)
    shaken(head)

    def tower(task, value):
        norm = head.norms[task]
        read = given[task]
        mean, variance = (value(w)[IDS] for w in (norm.moving_mean, norm.moving_variance))
        gammas, betas = (value(w)[IDS] for w in (norm.gammas, norm.betas))
        h = value(norm.gamma) * gammas * (read - mean) / np.sqrt(variance + 1e-3) + value(norm.beta) + betas
        for dense in head.layers_of(task):
            h = star(dense, h, value)
        dense = head.auxiliaries[task].steps[0]
        auxiliary = np.concatenate([value(head.scenarios)[IDS], read], -1)
        auxiliary = relu(auxiliary @ value(dense.kernel) + value(dense.bias))
        last = head.outputs[task].output_layer
        h = np.concatenate([h * value(head.last[task])[IDS], auxiliary], -1)
        y = h @ value(last.kernel) + value(last.bias)
        return sigmoid(y) if head.kinds[task] == "binary" else y

    assert_follows(
        head, lambda built: built(given), lambda value: {task.name: tower(task.name, value) for task in TASKS}
    )


def test_reloads(x, tmp_path):
    inputs = {"click": keras.Input((5,), name="click"), SCENARIO: keras.Input((4,), name=SCENARIO)}
    rows = {"click": x, SCENARIO: ONE_HOT}
    head = STARHead(TASKS[:1], units=(4, 3), dropout=0.1, activation="gelu")
    assert_reloads(keras.Model(inputs, head(inputs)), rows, tmp_path)
    bare = STARHead(TASKS[:1], auxiliary_units=(), normalize=False)
    assert not bare.norms and not bare.auxiliaries
    assert STARHead.from_config(bare.get_config()).get_config() == bare.get_config()
    half = STARHead(TASKS[:1], dtype="mixed_bfloat16")(rows, training=True)
    assert np.asarray(half["click"]).dtype == np.float32


def test_refuses(x):
    with pytest.raises(ValueError, match="momentum=1"):
        PartitionedNormalization(momentum=1)
    with pytest.raises(ValueError, match="epsilon=0"):
        PartitionedNormalization(epsilon=0)
    with pytest.raises(ValueError, match=r"lack \['scenario'\]"):
        STARHead(TASKS[:1])({"click": x})

"""Sluice against its equations, its penalty, and cross-stitch as its simplest case."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_all_trained, assert_reloads

from tfmtl.keras_host import keras, ops
from tfmtl.stages.trunks.cross_stitch import CrossStitch
from tfmtl.stages.trunks.sluice import Sluice

TASKS = ("buy", "click", "share")
BATCH, WIDTH, UNITS = 6, 5, (4, 4)


@pytest.fixture
def streams():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(BATCH, WIDTH)).astype("float32") for name in (*TASKS, "shared")}


def trunk(streams, *, perturbed=True, **options):
    layer = Sluice(**{"units": UNITS, **options})
    layer(streams)
    if perturbed:
        rng = np.random.default_rng(1)
        layer.set_weights([rng.normal(size=w.shape, scale=0.5) for w in layer.get_weights()])
    return layer


def array(variable):
    return np.asarray(ops.convert_to_tensor(variable), "float64")


def reference(layer, streams):
    parts = layer.num_subspaces
    towers, layers = {task: streams[task] for task in layer.tasks}, []
    for depth, stitch in enumerate(layer.stitches):
        halves = []
        for task in layer.tasks:
            dense = layer.dense[f"{task}_{depth}"]
            halves += np.split(np.maximum(towers[task] @ array(dense.kernel) + array(dense.bias), 0), parts, axis=-1)
        mixed = [sum(a * h for a, h in zip(row, halves, strict=True)) for row in array(stitch)]
        towers = {t: np.concatenate(mixed[i * parts : (i + 1) * parts], axis=-1) for i, t in enumerate(layer.tasks)}
        layers.append(towers)
    if layer.layer_weights is None:
        return layers[-1]
    weights = array(layer.layer_weights)
    return {
        task: sum(w[i] * y[task] for w, y in zip(weights, layers, strict=True)) for i, task in enumerate(layer.tasks)
    }


@pytest.mark.parametrize("options", [{}, {"num_subspaces": 4}, {"units": (4, 2), "mix_layers": False}, {"units": (4,)}])
def test_follows_the_equations(streams, options):
    layer = trunk(streams, **options)
    outputs, expected = layer(streams), reference(layer, streams)
    assert set(outputs) == set(TASKS)
    for task in TASKS:
        np.testing.assert_allclose(outputs[task], expected[task], rtol=1e-5, atol=1e-5)


def test_one_subspace_without_mixture_is_cross_stitch(streams):
    layer = trunk(streams, num_subspaces=1, mix_layers=False)
    plain = CrossStitch(UNITS)
    plain(streams)
    plain.set_weights(layer.get_weights())
    assert not layer.losses
    for task, expected in plain(streams).items():
        np.testing.assert_allclose(layer(streams)[task], expected, rtol=1e-6)


def test_penalty_is_the_product_of_sub_spaces(streams):
    layer = trunk(streams, orthogonality=0.3, num_subspaces=2)
    expected = 0.0
    for dense in layer.dense.values():
        left, right = np.split(array(dense.kernel), 2, axis=-1)
        expected += 0.3 * np.sum((left.T @ right) ** 2)
    np.testing.assert_allclose(float(sum(layer.losses)), expected, rtol=1e-5)
    layer(streams)
    np.testing.assert_allclose(float(sum(layer.losses)), expected, rtol=1e-5)  # a second call adds nothing


def test_penalty_of_three_parts_counts_every_pair_once(streams):
    layer = trunk(streams, units=(6,), orthogonality=1.0, num_subspaces=3)
    expected = 0.0
    for dense in layer.dense.values():
        a, b, c = np.split(array(dense.kernel), 3, axis=-1)
        expected += sum(np.sum((x.T @ y) ** 2) for x, y in ((a, b), (a, c), (b, c)))
    np.testing.assert_allclose(float(sum(layer.losses)), expected, rtol=1e-5)


def test_training_makes_sub_spaces_orthogonal(streams):
    layer = trunk(streams, orthogonality=1.0)
    x = {name: keras.Input((WIDTH,), name=name) for name in streams}
    model = keras.Model(x, layer(x))
    model.compile(keras.optimizers.SGD(0.02), loss=dict.fromkeys(TASKS, "mse"), loss_weights=dict.fromkeys(TASKS, 0.0))
    before = float(sum(layer.losses))
    model.fit(streams, {task: np.zeros((BATCH, 4), "float32") for task in TASKS}, epochs=30, verbose=0)
    assert float(sum(layer.losses)) < 0.2 * before


def test_starts_near_the_last_layer_and_the_identity(streams):
    layer = trunk(streams, perturbed=False)
    np.testing.assert_allclose(array(layer.layer_weights), [[0.1] * 3, [0.9] * 3], rtol=1e-6)
    start = array(layer.stitches[0])
    np.testing.assert_allclose(np.diagonal(start), 0.9, rtol=1e-6)
    np.testing.assert_allclose(start.sum(axis=1), 1, rtol=1e-6)


def test_every_variable_is_trained(streams):
    layer = trunk(streams, inputs="own+shared")
    assert len(layer.trainable_variables) == len(UNITS) * (2 * len(TASKS) + 1) + 1
    assert_all_trained(layer, lambda: sum(tf.reduce_sum(y**2) for y in layer(streams).values()))


def test_reloads_in_a_fresh_process(streams, tmp_path):
    x = {name: keras.Input((WIDTH,), name=name) for name in streams}
    layer = trunk(streams)
    assert layer.name == "trunk"
    above = Sluice((6, 3), num_subspaces=3, mix_layers=False, orthogonality=0.0, name="above")
    assert_reloads(keras.Model(x, above(layer(x))), streams, tmp_path)


def test_half_precision_stays_close(streams):
    layer, exact = trunk(streams, dtype="mixed_bfloat16"), trunk(streams)
    np.testing.assert_allclose(float(sum(layer.losses)), float(sum(exact.losses)), rtol=1e-6)  # of float32 kernels
    for task, y in layer(streams).items():
        np.testing.assert_allclose(np.asarray(ops.cast(y, "float32")), exact(streams)[task], atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_subspaces": 0}, "num_subspaces=0"),
        ({"units": (6, 6), "num_subspaces": 4}, r"divide \(6, 6\). Received: num_subspaces=4"),
        ({"orthogonality": -1.0}, r"orthogonality=-1\.0"),
        ({"units": (4, 2)}, r"mix_layers=False. Received: units=\(4, 2\)"),
    ],
)
def test_refuses_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Sluice(**options)

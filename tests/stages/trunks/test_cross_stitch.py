"""CrossStitch against its equations and its gradient routes."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_all_trained, assert_reloads, gradients

from tfmtl.keras_host import keras, ops
from tfmtl.stages.trunks.cross_stitch import CrossStitch

TASKS = ("buy", "click", "share")
BATCH, WIDTH, UNITS = 6, 5, (4, 3)


@pytest.fixture
def streams():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(BATCH, WIDTH)).astype("float32") for name in (*TASKS, "shared")}


def trunk(streams, *, perturbed=True, **options):
    layer = CrossStitch(**{"units": UNITS, **options})
    layer(streams)
    if perturbed:
        rng = np.random.default_rng(1)
        layer.set_weights([rng.normal(size=w.shape, scale=0.5) for w in layer.get_weights()])
    return layer


def array(variable):
    return np.asarray(ops.convert_to_tensor(variable), "float64")


def reference(layer, streams):
    towers = np.stack([streams[task] for task in layer.tasks])
    if layer.inputs == "own+shared":
        towers = np.concatenate([towers, np.stack([streams["shared"]] * len(towers))], axis=-1)
    for depth, stitch in enumerate(layer.stitches):
        dense = [layer.dense[f"{task}_{depth}"] for task in layer.tasks]
        towers = np.stack(
            [np.maximum(x @ array(d.kernel) + array(d.bias), 0) for x, d in zip(towers, dense, strict=True)]
        )
        letters = "iju,jbu->ibu" if layer.granularity == "channel" else "ij,jbu->ibu"
        towers = np.einsum(letters, array(stitch), towers)
    return dict(zip(layer.tasks, towers, strict=True))


@pytest.mark.parametrize("granularity", ["scalar", "channel"])
@pytest.mark.parametrize("inputs", ["own", "own+shared"])
def test_follows_the_equations(streams, granularity, inputs):
    layer = trunk(streams, granularity=granularity, inputs=inputs)
    outputs, expected = layer(streams), reference(layer, streams)
    assert set(outputs) == set(TASKS)
    for task in TASKS:
        np.testing.assert_allclose(outputs[task], expected[task], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("granularity", ["scalar", "channel"])
def test_starts_near_the_identity(streams, granularity):
    layer = trunk(streams, perturbed=False, granularity=granularity, self_weight=0.8)
    for stitch, units in zip(layer.stitches, UNITS, strict=True):
        start = array(stitch)
        assert start.shape == (3, 3, units)[: start.ndim]
        np.testing.assert_allclose(start.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(np.diagonal(start), 0.8, rtol=1e-6)


def test_identity_stitches_part_the_tasks(streams):
    layer = trunk(streams, perturbed=False, self_weight=1.0)
    foreign = [layer.dense[f"{task}_{depth}"].kernel for task in ("buy", "share") for depth in (0, 1)]
    found = gradients(lambda: tf.reduce_sum(layer(streams)["click"]), foreign)
    assert not any(np.abs(g).max() for g in found)


def test_a_task_reaches_every_tower(streams):
    layer = trunk(streams)
    kernels = [dense.kernel for dense in layer.dense.values()]
    assert all(np.abs(g).max() > 0 for g in gradients(lambda: tf.reduce_sum(layer(streams)["click"]), kernels))


def test_no_two_towers_start_equal(streams):
    layer = trunk(streams, perturbed=False, kernel_initializer=keras.initializers.GlorotUniform(seed=3))
    kernels = [array(layer.dense[f"{task}_0"].kernel) for task in TASKS]
    assert min(np.abs(kernels[i] - kernels[i - 1]).max() for i in range(3)) > 0.01


def test_the_order_of_a_dict_does_not_matter(streams):
    layer = trunk(streams)
    reversed_ = layer(dict(reversed(list(streams.items()))))
    for task, expected in layer(streams).items():
        np.testing.assert_array_equal(reversed_[task], expected)


@pytest.mark.parametrize("granularity", ["scalar", "channel"])
def test_every_variable_is_trained(streams, granularity):
    layer = trunk(streams, granularity=granularity, inputs="own+shared")
    assert len(layer.trainable_variables) == len(UNITS) * (2 * len(TASKS) + 1)
    assert_all_trained(layer, lambda: sum(tf.reduce_sum(y**2) for y in layer(streams).values()))


def test_parameters(streams):
    own = (5 * 4 + 4) + (4 * 3 + 3)
    assert trunk(streams).count_params() == 3 * own + 2 * 9
    assert trunk(streams, inputs="own+shared").count_params() == 3 * (own + 5 * 4) + 2 * 9
    assert trunk(streams, granularity="channel").count_params() == 3 * own + 9 * (4 + 3)


def test_one_task_is_an_mlp(streams):
    layer = trunk({"buy": streams["buy"]}, perturbed=False)
    np.testing.assert_array_equal(array(layer.stitches[0]), [[1.0]])


def test_dropout_needs_training(streams):
    layer = trunk(streams, dropout=0.5)
    np.testing.assert_array_equal(layer(streams)["buy"], layer(streams)["buy"])
    assert np.abs(layer(streams, training=True)["buy"] - layer(streams)["buy"]).max() > 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_close(streams, policy):
    layer, exact = trunk(streams, dtype=policy), trunk(streams)
    for task, y in layer(streams).items():
        assert np.asarray(y).dtype.name == policy.removeprefix("mixed_")
        np.testing.assert_allclose(np.asarray(ops.cast(y, "float32")), exact(streams)[task], atol=0.1)


def test_reloads_in_a_fresh_process(streams, tmp_path):
    x = {name: keras.Input((WIDTH,), name=name) for name in streams}
    layer = trunk(streams, inputs="own+shared", dropout=0.1)
    assert layer.name == "trunk"
    above = CrossStitch((3,), granularity="channel", activation="tanh", self_weight=0.7, name="above")
    assert_reloads(keras.Model(x, above(layer(x))), streams, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": ()}, "needs one width"),
        ({"units": (4, 0)}, r"units=\(4, 0\)"),
        ({"granularity": "row"}, "granularity='row'"),
        ({"self_weight": 1.5}, r"self_weight=1\.5"),
        ({"inputs": "all"}, "inputs='all'"),
        ({"dropout": 1.0}, r"dropout=1\.0"),
    ],
)
def test_refuses_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        CrossStitch(**options)


def test_refuses_streams_that_do_not_fit(streams):
    with pytest.raises(ValueError, match="lack 'shared'"):
        CrossStitch(UNITS, inputs="own+shared")({task: streams[task] for task in TASKS})
    with pytest.raises(ValueError, match="hold no task"):
        CrossStitch(UNITS)({"shared": streams["shared"]})

"""CGC in training: the numbers, gradients and routes of the plain formula by fewer, wider products."""

import numpy as np
import pytest
import tensorflow as tf
from harness import gradients, ops

from tfmtl.keras_host import keras
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.layers.fast import cgc
from tfmtl.typing import SHARED

STREAMS = ("buy", "click", "like", SHARED)


@pytest.fixture
def x():
    return ops.convert_to_tensor(np.random.default_rng(0).normal(size=(7, 10)).astype("float32"))


@pytest.fixture
def joined(monkeypatch):
    """Counts the calls that take the streams for one tensor."""
    calls = []
    original = cgc.mix_one_input
    monkeypatch.setattr(cgc, "mix_one_input", lambda *arguments: calls.append(1) or original(*arguments))
    return calls


def one(x):
    return dict.fromkeys(STREAMS, x)


def copies(x):
    """Equal streams that are not one tensor."""
    return {stream: ops.copy(x) for stream in STREAMS}


def answers(layer, streams, x, training=True):
    """Outputs, and the gradients of all weights and of what the streams were made from."""
    source = tf.Variable(x)

    def loss():
        outputs = layer(streams(source + 0.0), training=training)
        return sum((i + 1.0) * ops.sum(outputs[name] ** 2) for i, name in enumerate(sorted(outputs)))

    found = gradients(loss, [*layer.trainable_variables, source])
    return {k: np.asarray(v) for k, v in layer(streams(x), training=training).items()}, found


def other_weights(layer):
    layer.set_weights(
        [w + 0.1 * np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(layer.get_weights())]
    )


def assert_same(layer, got, wanted):
    """The same outputs and the same gradients."""
    (outputs, slopes), (wanted_outputs, wanted_slopes) = got, wanted
    assert set(outputs) == set(wanted_outputs)
    for name, value in wanted_outputs.items():
        np.testing.assert_allclose(outputs[name], value, rtol=1e-5, atol=1e-6)
    names = [*(weight.name for weight in layer.trainable_variables), "input"]
    for name, slope, wanted_slope in zip(names, slopes, wanted_slopes, strict=True):
        np.testing.assert_allclose(slope, wanted_slope, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("streams", ["one", "copies"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"units": (6, 5), "gate_units": (4,)},
        {"update_shared": False, "gate_input": "concat"},
        {"num_task_experts": 1, "num_shared_experts": 3, "gate_use_bias": True},
        {"num_task_experts": 0, "num_shared_experts": 3},
        {"num_task_experts": 1, "num_shared_experts": 0},
        {"cross_task": "full"},
        {"cross_task": "detached", "gate_input": "sum"},
        {"cross_task": "detached", "shared_stream_stop_specific": True},
        {"num_task_experts": 1, "num_shared_experts": 1, "cross_task": "detached", "update_shared": False},
    ],
    ids=str,
)
def test_equals_the_plain_formula(x, options, streams):
    layer = CGCLayer(**{"units": 5, **options})
    layer(one(x))
    other_weights(layer)
    made = {"one": one, "copies": copies}[streams]
    assert_same(layer, answers(layer, made, x), answers(layer, made, x, training=False))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"units": (6, 5)},
        {"update_shared": False},
        {"num_task_experts": 1, "num_shared_experts": 3, "gate_use_bias": True},
        {"cross_task": "full"},
    ],
    ids=str,
)
def test_equals_the_cell_over_separate_streams(x, joined, options):
    layer = CGCLayer(**{"units": 5, **options})
    layer(copies(x))
    other_weights(layer)
    got = answers(layer, one, x)
    assert len(joined) == 2
    wanted = answers(layer, copies, x)
    assert len(joined) == 2
    assert_same(layer, got, wanted)


def test_a_task_reaches_its_own_and_the_shared_experts_alone(x, joined):
    layer = CGCLayer(5)
    layer(copies(x))
    kernels = {name: experts.kernels[0] for name, experts in layer.experts.items()}
    found = gradients(lambda: ops.sum(layer(one(x), training=True)["buy"] ** 2), list(kernels.values()))
    reached = {name: np.abs(g).max() > 0 for name, g in zip(kernels, found, strict=True)}
    assert joined and reached == {"buy": True, "click": False, "like": False, SHARED: True}


@pytest.mark.parametrize(
    "options",
    [
        {"gate_input": "sum"},
        {"gate_units": (4,)},
        {"cross_task": "detached"},
        {"shared_stream_stop_specific": True},
        {"num_task_experts": 0},
        {"num_shared_experts": 0, "update_shared": False},
    ],
    ids=str,
)
def test_other_cells_take_the_general_way(x, joined, options):
    layer = CGCLayer(5, **options)
    outputs = layer(one(x), training=True)
    wanted = layer(copies(x), training=True)
    assert not joined
    for name, value in wanted.items():
        np.testing.assert_allclose(np.asarray(outputs[name]), np.asarray(value), rtol=1e-6)


def test_training_alone_takes_it(x, joined):
    layer = CGCLayer(5)
    layer(one(x), training=False)
    layer(one(x))
    assert not joined


def test_the_streams_of_a_model_are_one_tensor(joined):
    """What the speed rests on: a functional model hands on the tensor that a bottom gave to every stream."""
    inputs = keras.Input((10,))

    class Copy(keras.layers.Layer):
        def call(self, x):
            return dict.fromkeys(STREAMS, x + 1.0)

        def compute_output_shape(self, shape):
            return dict.fromkeys(STREAMS, shape)

    model = keras.Model(inputs, CGCLayer(5, update_shared=False)(Copy()(inputs)))
    joined.clear()
    model(np.ones((3, 10), "float32"), training=True)
    assert joined


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_masks_exactly(policy, joined):
    x = ops.cast(np.random.default_rng(0).normal(size=(7, 10)), policy.removeprefix("mixed_"))
    layer = CGCLayer(5, dtype=policy)
    outputs = layer(one(x), training=True)
    wanted = layer(copies(x), training=True)
    assert joined
    for name, value in wanted.items():
        got = np.asarray(ops.cast(outputs[name], "float32"))
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, np.asarray(ops.cast(value, "float32")), rtol=0.05, atol=0.02)

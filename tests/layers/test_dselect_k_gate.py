"""DSelectKGate and DSelectK against their equations."""

import numpy as np
import pytest
from harness import assert_reloads, gradients, ops
from references import assert_follows, relu, shaken, softmax

from tfmtl.keras_host import keras
from tfmtl.layers import DSelectKGate
from tfmtl.layers.dselect_k_gate import digits_of
from tfmtl.stages import DSelectK
from tfmtl.typing import SHARED

TASKS = ("buy", "click")
STREAMS = (*TASKS, SHARED)


@pytest.fixture
def streams():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(6, 5)).astype("float32") for name in STREAMS}


def selected(layer, x, value):
    """Of each row, selector and candidate."""

    def logits(part):
        bias = value(getattr(layer, f"{part}_bias"))
        return x @ value(getattr(layer, f"{part}_kernel")) + bias if layer.per_row else np.tile(bias, (len(x), 1))

    z, g = logits("digit").reshape(len(x), layer.num_selected, -1), layer.gamma
    steps = np.where(z <= -g / 2, 0, np.where(z >= g / 2, 1, -2 / g**3 * z**3 + 3 / (2 * g) * z + 0.5))
    choices = np.empty((len(x), layer.num_selected, layer.num))
    for i in range(layer.num):
        code = [int(digit) for digit in np.binary_repr(i, layer.num_digits)]
        choices[:, :, i] = np.prod(
            [steps[..., b] if digit else 1 - steps[..., b] for b, digit in enumerate(code)], axis=0
        )
    return choices, softmax(logits("selector"))


def weights(layer, x, value):
    choices, shares = selected(layer, x, value)
    return np.einsum("bk,bkn->bn", shares, choices)


@pytest.mark.parametrize("options", [{}, {"num": 5, "gamma": 2.0}, {"per_row": False, "num_selected": 3}], ids=str)
def test_follows_the_equations(streams, options):
    x = streams["buy"]
    layer = DSelectKGate(**{"num": 8, **options})
    layer(x)
    layer.set_weights([0.4 * w for w in shaken(layer).get_weights()])
    assert_follows(layer, lambda built: built(x), lambda value: weights(layer, x, value))


def test_trunk_mixes_by_its_gates(streams):
    layer = DSelectK(3, num_experts=4)
    layer(streams)

    def reference(value):
        experts = layer.experts[SHARED]
        kernels, biases = np.split(value(experts.kernels[0]), 4), np.split(value(experts.biases[0]), 4)
        made = np.stack([relu(streams[SHARED] @ k.T + b) for k, b in zip(kernels, biases, strict=True)], 1)
        return {
            task: np.einsum("bn,bnu->bu", weights(layer.mixers[task], streams[task], value), made) for task in TASKS
        }

    for training in (False, True):
        assert_follows(layer, lambda built: built(streams, training=training), reference)  # noqa: B023


def test_a_selector_ends_in_one_candidate():
    """Digits beyond the slope choose exactly: weights are those of the selectors, and nothing moves any more."""
    layer = DSelectKGate(8, num_selected=2, per_row=False)
    layer.build((None, 3))
    layer.digit_bias.assign([1.0, -1.0, 1.0, -1.0, -1.0, 1.0])  # 5 and 1
    layer.selector_bias.assign([np.log(3.0), 0.0])
    w = np.asarray(layer(np.zeros((2, 3), "float32")))
    np.testing.assert_allclose(w, np.tile([0, 0.25, 0, 0, 0, 0.75, 0, 0], (2, 1)), atol=1e-6)
    (slope,) = gradients(lambda: ops.sum(layer(np.zeros((2, 3), "float32")) ** 2), [layer.digit_bias])
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("num", [4, 5])
def test_penalties(streams, num):
    x = streams["buy"]
    layer = DSelectKGate(num, entropy=0.01)
    layer(x)
    assert not layer.losses
    layer(x, training=True)
    choices, _ = selected(layer, x, lambda variable: np.asarray(ops.convert_to_tensor(variable), "float64"))
    expected = 0.01 * -(choices * np.log(choices + 1e-6)).sum() / len(x)
    if num == 5:
        expected += (1 / choices.sum(-1) - 1).sum() / len(x)
    np.testing.assert_allclose(float(layer.losses[0]), expected, rtol=1e-4)


def test_numbers_in_binary():
    np.testing.assert_array_equal(digits_of(5), [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0]])


def test_reloads(streams, tmp_path):
    inputs = {name: keras.Input((5,), name=name) for name in STREAMS}
    trunk = DSelectK((4, 3), num_experts=5, num_selected=3, per_row=False, gate_input="concat", dropout=0.1)
    assert_reloads(keras.Model(inputs, trunk(inputs)), streams, tmp_path)
    gates = trunk.gates(streams)
    assert {task: tuple(w.shape) for task, w in gates.items()} == dict.fromkeys(TASKS, (6, 5))


def test_refuses():
    with pytest.raises(ValueError, match="num=1"):
        DSelectKGate(1)
    with pytest.raises(ValueError, match="gamma=0"):
        DSelectK(4, gamma=0)
    with pytest.raises(ValueError, match="entropy=-1"):
        DSelectK(4, entropy=-1)
    with pytest.raises(ValueError, match="num_experts=1"):
        DSelectK(4, num_experts=1)

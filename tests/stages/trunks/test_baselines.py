"""OMoE, ML-MMoE and static sharing against their equations and routes."""

import numpy as np
import pytest
from harness import assert_all_trained, assert_reloads, gradients, ops

from tfmtl.keras_host import keras
from tfmtl.stages.trunks import MMoE
from tfmtl.stages.trunks.ml_mmoe import MLMMoE
from tfmtl.stages.trunks.omoe import OMoE
from tfmtl.stages.trunks.static_sharing import StaticSharing
from tfmtl.typing import SHARED

TASKS = ("buy", "click")
STREAMS = (*TASKS, SHARED)


@pytest.fixture
def streams():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(6, 10)).astype("float32") for name in STREAMS}


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_omoe_gives_every_task_the_same_mixture(streams):
    layer = OMoE(5, num_experts=3)
    y = layer(streams)
    experts = np.asarray(layer.experts(streams[SHARED]))
    weights = softmax(streams[SHARED] @ np.asarray(layer.gate.logits.kernel))
    expected = (weights[:, :, None] * experts).sum(1)
    for task in TASKS:
        np.testing.assert_allclose(np.asarray(y[task]), expected, rtol=1e-5, atol=1e-6)


def test_ml_mmoe_follows_the_equations(streams):
    layer = MLMMoE((5, 4), num_experts=3)
    y = layer(streams)
    x = streams[SHARED]
    below = np.asarray(layer.first(x))
    choice, kernel, bias = (np.asarray(w) for w in (layer.choices[0], layer.kernels[0], layer.biases[0]))
    upper = []
    for i in range(3):
        w = softmax(x @ choice[:, 3 * i : 3 * i + 3])
        upper.append(np.maximum((w[:, :, None] * below).sum(1) @ kernel[i] + bias[i], 0))
    for task in TASKS:
        w = softmax(streams[task] @ np.asarray(layer.mixers[task].logits.kernel))
        expected = sum(w[:, i : i + 1] * e for i, e in enumerate(upper))
        np.testing.assert_allclose(np.asarray(y[task]), expected, rtol=1e-5, atol=1e-6)


def test_one_level_of_ml_mmoe_is_mmoe(streams):
    deep, flat = MLMMoE((5,), num_experts=3), MMoE(5, num_experts=3)
    deep(streams), flat(streams)
    flat.experts[SHARED].set_weights(deep.first.get_weights())
    for task in TASKS:
        flat.mixers[task].set_weights(deep.mixers[task].get_weights())
        np.testing.assert_allclose(
            np.asarray(deep(streams)[task]), np.asarray(flat(streams)[task]), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("fusion", ["concat", "sum", "mean"])
def test_customized_sharing_follows_the_equation(streams, fusion):
    layer = StaticSharing((5,), fusion=fusion)
    y = layer(streams)
    for task in TASKS:
        parts = [np.asarray(layer.networks[name](streams[name])) for name in (task, SHARED)]
        expected = {"concat": np.concatenate(parts, -1), "sum": parts[0] + parts[1], "mean": (parts[0] + parts[1]) / 2}[
            fusion
        ]
        np.testing.assert_allclose(np.asarray(y[task]), expected, rtol=1e-6)
        assert (
            tuple(y[task].shape)[1:] == layer.compute_output_shape({k: v.shape for k, v in streams.items()})[task][1:]
        )


def test_asymmetric_sharing_goes_one_way(streams):
    layer = StaticSharing((5,), donors={"buy": ["click"]})
    layer(streams)
    kernels = [layer.networks[task].trainable_variables[0] for task in TASKS]
    buy = gradients(lambda: ops.sum(layer(streams)["buy"] ** 2), kernels)
    click = gradients(lambda: ops.sum(layer(streams)["click"] ** 2), kernels)
    assert all(np.abs(g).max() > 0 for g in buy)
    assert click[0] is None or not np.abs(click[0]).max() > 0
    assert np.abs(click[1]).max() > 0
    assert SHARED not in layer.networks and not layer.reads_shared


@pytest.mark.parametrize(
    "trunk",
    [
        OMoE((5, 4), num_experts=3, gate_units=(4,), dropout=0.1),
        OMoE(5, num_experts=np.int64(2), gate_use_bias=True, kernel_initializer="he_normal"),
        MLMMoE((6, 5, 4), num_experts=3),
        MLMMoE((6, 5), num_experts=np.int64(3), gate_use_bias=True, dropout=0.1, kernel_initializer="he_normal"),
        StaticSharing((5, 4)),
        StaticSharing((5,), donors={"buy": ["click"]}, fusion="sum"),
    ],
    ids=["omoe", "omoe_options", "ml_mmoe", "ml_mmoe_options", "customized", "asymmetric"],
)
def test_reloads_and_every_variable_is_trained(streams, trunk, tmp_path):
    inputs = {name: keras.Input((10,), name=name) for name in STREAMS}
    model = keras.Model(inputs, trunk(inputs))
    assert trunk.name == "trunk"
    assert_all_trained(model, lambda: sum(ops.sum(y**2) for y in model(streams).values()))
    assert_reloads(model, streams, tmp_path)


def test_donors_may_come_from_a_generator():
    assert StaticSharing((5,), donors={"buy": (name for name in ["click"])}).donors == {"buy": ("click",)}


@pytest.mark.parametrize("make", [OMoE, lambda **options: MLMMoE((40, 40), **options)], ids=["omoe", "ml_mmoe"])
def test_initializers_and_dropout_reach_every_level(streams, make):
    layer = make(num_experts=3, dropout=0.5, kernel_initializer="ones")
    layer(streams)
    first = layer.first if isinstance(layer, MLMMoE) else layer.experts
    for kernel in (*first.kernels, *getattr(layer, "kernels", [])):
        np.testing.assert_array_equal(np.asarray(kernel), 1)
    still, dropped = (np.asarray(layer(streams, training=training)["buy"]) for training in (False, True))
    np.testing.assert_array_equal(still, np.asarray(layer(streams)["buy"]))
    assert np.abs(still - dropped).max() > 0.01


@pytest.mark.parametrize(
    "initializer", ["glorot_uniform", keras.initializers.HeNormal(seed=1)], ids=["default", "seed"]
)
def test_experts_of_every_level_differ(streams, initializer):
    layer = MLMMoE((8, 8), num_experts=3, kernel_initializer=initializer)
    layer(streams)
    for kernels in (np.split(np.asarray(layer.first.kernels[0]), 3), np.asarray(layer.kernels[0])):
        assert np.abs(kernels[0] - kernels[1]).max() > 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: OMoE(5, num_experts=1), "num_experts=1"),
        (lambda x: MLMMoE((5,), num_experts=0), "num_experts=0"),
        (lambda x: MLMMoE(()), "one width or more"),
        (lambda x: StaticSharing(()), "one width or more"),
        (lambda x: StaticSharing((5,), fusion="max"), "fusion='max'"),
        (lambda x: StaticSharing((5,), donors={"buy": ["buy"]}), "its own network"),
        (lambda x: StaticSharing((5,), donors={"buy": "click"}), "each a sequence. Received: donors={'buy': 'click'}"),
        (lambda x: StaticSharing((5,), donors={"buy": (name for name in ["buy"])}), "its own network"),
        (lambda x: StaticSharing((5,), donors={"buy": ["click"] * 2}), r"once for each task.*\('click', 'click'\)"),
        (lambda x: StaticSharing((5,), donors={SHARED: ["buy"]}), "must not be given for 'shared'"),
        (lambda x: OMoE(5, dropout=1.0), "dropout=1.0"),
        (lambda x: MLMMoE((5, 4), dropout=1.0), "dropout=1.0"),
        (lambda x: StaticSharing((5,), donors={"buy": ["like"]})(x), r"names \['like'\]"),
        (lambda x: OMoE(5)({"buy": x["buy"]}), "lack 'shared'"),
    ],
)
def test_refuses(streams, make, message):
    with pytest.raises(ValueError, match=message):
        make(streams)

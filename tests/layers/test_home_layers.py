"""FeatureGate, SelfGate, NormalizedExperts and HoME against their equations and routes."""

import numpy as np
import pytest
from harness import assert_reloads, gradients, ops
from references import assert_follows, shaken, sigmoid, softmax

from tfmtl.keras_host import keras
from tfmtl.layers import FeatureGate, NormalizedExperts, SelfGate
from tfmtl.stages import HoME
from tfmtl.typing import SHARED

GROUPS = {"watch": ["finish"], "interact": ["follow", "like"]}
TASKS = ("finish", "follow", "like")
STREAMS = (*TASKS, SHARED)


@pytest.fixture
def streams():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(6, 5)).astype("float32") for name in STREAMS}


def scaled(layer, x, value):
    rank = x.shape[1] // layer.num
    choice = softmax(x @ value(layer.choice)) if layer.num > 1 else np.ones((len(x), 1))
    down = np.split(value(layer.down), layer.num, axis=1)
    factors = [2 * sigmoid(x @ down[k][:, :rank] @ value(layer.up)[k]) for k in range(layer.num)]
    return x * sum(choice[:, [k]] * f for k, f in enumerate(factors))


def experts_of(layer, x, value, training):
    h = x @ value(layer.dense.kernel)
    norm = layer.norm
    mean, variance = (h.mean(0), h.var(0)) if training else (value(norm.moving_mean), value(norm.moving_variance))
    h = (h - mean) / np.sqrt(variance + norm.epsilon) * value(norm.gamma) + value(norm.beta)
    return (h * sigmoid(h)).reshape(len(x), layer.num, layer.units)


def self_weights(layer, x, value):
    logits = x @ value(layer.logits.kernel)
    return sigmoid(logits) if layer.num == 1 else softmax(logits)


def reference(trunk, streams, value, training):
    """The equations of the docstring, set by set."""
    x = streams[SHARED]

    def made(level, owner, read):
        place = f"{level}_{owner}"
        return experts_of(trunk.experts[place], scaled(trunk.features[place], read, value), value, training)

    def mixed(level, reader, query, experts, candidates):
        place = f"{level}_{reader}"
        w = softmax(query @ value(trunk.mixers[place].logits.kernel))
        y = np.einsum("bn,bnu->bu", w, np.concatenate([experts[owner] for owner in candidates], 1))
        return y + np.einsum("bn,bnu->bu", self_weights(trunk.selves[place], query, value), experts[reader])

    first = {owner: made("meta", owner, x) for owner in (SHARED, *GROUPS)}
    z = {group: mixed("meta", group, x, first, (SHARED, group)) for group in GROUPS}
    z[SHARED] = mixed("meta", SHARED, x, first, (*GROUPS, SHARED))
    group_of = {task: group for group, tasks in GROUPS.items() for task in tasks}
    second = {owner: made("last", owner, z[owner]) for owner in (SHARED, *GROUPS)}
    second |= {task: made("last", task, z[group]) for task, group in group_of.items()}
    return {
        task: mixed("last", task, np.concatenate([z[group], z[SHARED]], -1), second, (SHARED, group, task))
        for task, group in group_of.items()
    }


@pytest.mark.parametrize("num", [1, 2])
def test_feature_gate_follows_the_equation(streams, num):
    layer, x = FeatureGate(num), streams[SHARED]
    layer(x)
    assert_follows(shaken(layer), lambda built: built(x), lambda value: scaled(layer, x, value))


@pytest.mark.parametrize("num", [1, 3])
def test_self_gate_follows_the_equation(streams, num):
    layer, x = SelfGate(num), streams[SHARED]
    layer(x)
    assert_follows(shaken(layer), lambda built: built(x), lambda value: self_weights(layer, x, value))


@pytest.mark.parametrize("training", [False, True])
def test_experts_follow_the_equation(streams, training):
    layer, x = NormalizedExperts(3, 4), streams[SHARED]
    layer(x)
    assert_follows(
        shaken(layer), lambda built: built(x, training=training), lambda value: experts_of(layer, x, value, training)
    )


@pytest.mark.parametrize("training", [False, True])
def test_home_follows_the_equations(streams, training):
    trunk = HoME((4, 3), groups=GROUPS)
    trunk(streams)
    assert_follows(
        shaken(trunk),
        lambda built: built(streams, training=training),
        lambda value: reference(trunk, streams, value, training),
    )


def test_a_task_teaches_no_expert_that_its_gates_do_not_show(streams):
    trunk = HoME((4, 3), groups=GROUPS)
    trunk(streams)
    places = [
        *(f"meta_{owner}" for owner in (SHARED, *GROUPS)),
        *(f"last_{owner}" for owner in (SHARED, *GROUPS, *TASKS)),
    ]
    kernels = [trunk.experts[place].dense.kernel for place in places]
    found = gradients(lambda: ops.sum(trunk(streams)["like"] ** 2), kernels)
    reached = {place for place, g in zip(places, found, strict=True) if g is not None and np.abs(g).max() > 0}
    # `z_shared` reads all groups' experts, so the first level's are reached by way of it.
    assert reached == {"meta_shared", "meta_watch", "meta_interact", "last_shared", "last_interact", "last_like"}


def test_gates_and_mixtures_show_both_levels(streams):
    trunk = HoME((4, 3), groups=GROUPS, self_gates=False)
    y = trunk(streams)
    meta, last = trunk.mixtures(streams)
    assert (meta.name, last.name) == ("trunk/meta", "trunk/last")
    assert meta.candidates == {
        "shared": ("watch", "interact", "shared"),
        "watch": ("shared", "watch"),
        "interact": ("shared", "interact"),
    }
    for task in TASKS:
        experts = np.concatenate([np.asarray(last.experts[owner]) for owner in last.candidates[task]], 1)
        mixed = np.einsum("bn,bnu->bu", np.asarray(last.gates[task]), experts)
        np.testing.assert_allclose(np.asarray(y[task]), mixed, rtol=1e-5, atol=1e-6)


def test_reloads(streams, tmp_path):
    inputs = {name: keras.Input((5,), name=name) for name in STREAMS}
    trunk = HoME((4, 3), groups=GROUPS, num_task_experts=2, dropout=0.1, activation="relu")
    assert_reloads(keras.Model(inputs, trunk(inputs)), streams, tmp_path)
    alone = HoME((4, 3), num_feature_gates=0, self_gates=False)
    alone(streams)
    assert set(alone.experts) == {
        "meta_shared",
        "meta_all",
        "last_shared",
        "last_all",
        *(f"last_{task}" for task in TASKS),
    }
    assert not alone.features and not alone.selves


def test_refuses(streams):
    for groups in ({"a": []}, {"a": ["like"], "b": ["like"]}, {}):
        with pytest.raises(ValueError, match="no task in two"):
            HoME(groups=groups)
    for groups in ({"a": ["like"]}, {"like": TASKS}, {"shared": TASKS}, {"a": [*TASKS, "buy"]}):
        with pytest.raises(ValueError, match="every task once"):
            HoME(groups=groups)(streams)
    with pytest.raises(ValueError, match="two widths"):
        HoME((4, 4, 4))
    with pytest.raises(ValueError, match="num=6"):
        FeatureGate(6)(streams[SHARED])

"""TaskTower and Towers."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_all_trained, assert_reloads, gradients, ops

from tfmtl.keras_host import keras
from tfmtl.layers.task_tower import TaskTower
from tfmtl.losses import MaskedBinaryCrossentropy
from tfmtl.schema import Task
from tfmtl.stages.heads import AITMHead, ESMMHead, Towers


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(6, 10)).astype("float32")


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_follows_the_equation(x, kind):
    tower = TaskTower([7], kind=kind)
    y = np.asarray(tower(x))
    kernel, bias, last, last_bias = tower.get_weights()
    logits = np.maximum(x @ kernel + bias, 0) @ last + last_bias
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-logits)) if kind == "binary" else logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(tower.logits(x)), logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_output_is_float32_and_keeps_tiny_probabilities(x, policy):
    tower = TaskTower([], dtype=policy)
    tower(x)
    tower.set_weights([np.zeros((10, 1)), np.array([np.log(1e-8)])])
    y = np.asarray(tower(x))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, 1e-8, rtol=1e-3)
    assert np.isfinite(np.log(y)).all()


LOGITS = np.array([-1000, -60, -25, -17, -15, -3, 0, 2, 15, 16.5, 17.5, 40, 1000], "float32")


def slopes(label, loss, training):
    """The slope of the loss of each of `LOGITS`, alone in a batch, under a tower that passes its input on as logit."""
    tower = TaskTower([])
    tower.build((None, 1))
    tower.set_weights([np.ones((1, 1)), np.zeros(1)])
    found = []
    for logit in LOGITS:
        x = tf.Variable([[logit]])
        found += gradients(lambda: loss(np.array([[label]], "float32"), tower(x, training=training)), [x])  # noqa: B023
    return np.concatenate(found)[:, 0]


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_confident_mistake_learns(label):
    """As from the logits themselves: sigmoid(logit) - label, where the float32 sigmoid alone has no slope left."""
    found = slopes(label, MaskedBinaryCrossentropy(), training=True)
    np.testing.assert_allclose(found, (1 + np.tanh(LOGITS.astype("float64") / 2)) / 2 - label, rtol=1e-3, atol=2e-7)
    plain = slopes(label, MaskedBinaryCrossentropy(), training=False)
    ordinary = np.abs(LOGITS) <= 15
    np.testing.assert_array_equal(found[ordinary], plain[ordinary])
    wrong = (LOGITS > 20) if label == 0 else (LOGITS < -20)
    assert np.abs(plain[wrong]).max() < 1e-3
    assert np.abs(slopes(label, keras.losses.BinaryCrossentropy(), training=True)[wrong]).min() > 0.3


def test_training_changes_no_prediction_that_can_be_told():
    tower = TaskTower([])
    tower.build((None, 1))
    tower.set_weights([np.ones((1, 1)), np.zeros(1)])
    trained, served = (np.asarray(tower(LOGITS[:, None], training=training)) for training in (True, False))
    np.testing.assert_allclose(trained, served, rtol=0, atol=1.3e-7)
    ordinary = np.abs(LOGITS) <= 15
    np.testing.assert_array_equal(trained[ordinary], served[ordinary])
    np.testing.assert_allclose(served[2], np.exp(-25.0), rtol=1e-5)


@pytest.mark.parametrize("head", [ESMMHead, AITMHead])
def test_a_confident_mistake_learns_along_a_chain(x, head):
    """ESMM multiplies probabilities; the step that is wrong still moves."""
    chain = head([Task("click"), Task("buy")], ["click", "buy"], units=())
    streams = {"click": x, "buy": x}
    chain(streams)
    towers = chain.towers.towers if head is ESMMHead else chain.outputs
    bias = towers["buy"].output_layer.bias
    bias.assign([-40.0])
    loss = MaskedBinaryCrossentropy()
    (slope,) = gradients(lambda: loss(np.ones((6, 1), "float32"), chain(streams, training=True)["buy"]), [bias])
    assert slope[0] < -0.1
    (slope,) = gradients(lambda: loss(np.ones((6, 1), "float32"), chain(streams)["buy"]), [bias])
    assert abs(slope[0]) < 1e-6


def test_starts_at_the_label_mean(x):
    tower = TaskTower([5], label_mean=0.003)
    np.testing.assert_allclose(np.asarray(tower(np.zeros_like(x))), 0.003, rtol=1e-5)
    assert TaskTower.from_config(tower.get_config()).label_mean == 0.003
    head = Towers([Task("click"), Task("buy")], base_rates={"buy": 0.003})
    y = Towers.from_config(head.get_config())({"click": np.zeros_like(x), "buy": np.zeros_like(x)})
    np.testing.assert_allclose([float(y["click"][0, 0]), float(y["buy"][0, 0])], [0.5, 0.003], rtol=1e-5)


def test_starts_at_what_the_schema_has_learned_of_the_labels(x, recwarn):
    tasks = [Task("buy", mean=0.003), Task("watch", "regression", mean=40.0, variance=9.0)]
    still = dict.fromkeys(("buy", "watch"), np.zeros_like(x))
    y = Towers.from_config(Towers(tasks).get_config())(still)
    np.testing.assert_allclose([float(y["buy"][0, 0]), float(y["watch"][0, 0])], [0.003, 40.0], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(Towers(tasks, base_rates={})(still)["buy"]), 0.5)
    assert not [w for w in recwarn if "base rates" in str(w.message)]


def test_says_which_base_rates_it_does_not_know():
    with pytest.warns(UserWarning, match=r"base rates of \['click', 'never'\] are not known.*`adapt`"):
        head = Towers([Task("click"), Task("never", mean=0.0), Task("buy", mean=0.1)])
    assert head.base_rates == {"buy": 0.1}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_towers_reload_and_every_variable_is_trained(x, policy, tmp_path):
    inputs = {name: keras.Input((10,), name=name) for name in ("click", "watch")}
    head = Towers([Task("click"), Task("watch", "regression")], units={"click": (5, 3), "watch": ()}, dtype=policy)
    model = keras.Model(inputs, head(inputs))
    rows = {"click": x, "watch": x}
    assert_all_trained(model, lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(rows).values()))
    if policy == "float32":
        assert_reloads(model, rows, tmp_path)
    assert [tower.kind for tower in head.towers.values()] == ["binary", "regression"]


@pytest.mark.parametrize("units", [8, {"click": 8, "buy": (8,)}], ids=str)
def test_one_layer_may_be_a_number(units):
    assert Towers([Task("click"), Task("buy")], units=units).units == {"click": (8,), "buy": (8,)}


def test_refuses(x):
    with pytest.raises(ValueError, match="kind='ordinal'"):
        TaskTower(kind="ordinal")
    with pytest.raises(ValueError, match=r"one task or more, `Task`s such as `schema.tasks`"):
        Towers([])
    with pytest.raises(ValueError, match="must name every task"):
        Towers([Task("click")], units={"buy": (3,)})
    with pytest.raises(ValueError, match=r"label_mean=0\.0 for kind='binary'"):
        TaskTower(label_mean=0.0)
    with pytest.raises(ValueError, match=r"label_mean=inf for kind='regression'"):
        Towers([Task("watch", "regression")], base_rates={"watch": float("inf")})
    with pytest.raises(ValueError, match=r"`base_rates` must name tasks. Received: \['buy'\]"):
        Towers([Task("click")], base_rates={"buy": 0.5})
    with pytest.raises(ValueError, match="units=0"):
        Towers([Task("click")], units=0)
    with pytest.raises(ValueError, match=r"lack tasks \['buy'\]"):
        Towers([Task("click"), Task("buy")])({"click": x})

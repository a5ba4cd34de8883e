"""TaskTower and Towers."""

import numpy as np
import pytest
from harness import assert_all_trained, assert_reloads, ops

from tfmtl.keras_host import keras
from tfmtl.layers.head.task_tower import TaskTower
from tfmtl.models.heads import Towers
from tfmtl.spec import Task


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


def test_refuses(x):
    with pytest.raises(ValueError, match="kind='ordinal'"):
        TaskTower(kind="ordinal")
    with pytest.raises(ValueError, match="one task or more"):
        Towers([])
    with pytest.raises(ValueError, match="must name every task"):
        Towers([Task("click")], units={"buy": (3,)})
    with pytest.raises(ValueError, match=r"lack tasks \['buy'\]"):
        Towers([Task("click"), Task("buy")])({"click": x})

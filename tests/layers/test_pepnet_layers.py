"""GateNU, EPNet and PPNet against their equations and routes."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_reloads, gradients, ops
from references import assert_follows, relu, shaken, sigmoid

from tfmtl.keras_host import keras
from tfmtl.layers import EPNet, GateNU
from tfmtl.schema import Task
from tfmtl.stages import PPNet
from tfmtl.typing import PRIOR

TASKS = [Task("click", mean=0.3), Task("watch", "regression", mean=2.0)]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=(6, width)).astype("float32") for name, width in (("click", 5), ("watch", 4), (PRIOR, 3))
    }


def gate(layer, x, value):
    hidden = relu(x @ value(layer.hidden.kernel) + value(layer.hidden.bias))
    return layer.scale * sigmoid(hidden @ value(layer.logits.kernel) + value(layer.logits.bias))


def tower(head, task, rows, value):
    x = rows[task]
    read = np.concatenate([rows[PRIOR], x], -1)
    for dense, scale in head.layers_of(task):
        x = gate(scale, read, value) * relu(x @ value(dense.kernel) + value(dense.bias))
    last = head.outputs[task].output_layer
    y = x @ value(last.kernel) + value(last.bias)
    return sigmoid(y) if head.kinds[task] == "binary" else y


@pytest.mark.parametrize("options", [{}, {"hidden_units": 2, "scale": 1.5}], ids=str)
def test_gate_follows_the_equation(rows, options):
    layer = GateNU(4, **options)
    layer(rows["click"])
    assert_follows(shaken(layer), lambda built: built(rows["click"]), lambda value: gate(layer, rows["click"], value))


def test_epnet_follows_the_equation(rows):
    layer = EPNet()
    given = [rows[PRIOR], rows["click"]]
    layer(given)
    joined = np.concatenate(given, -1)
    assert_follows(shaken(layer), lambda built: built(given), lambda value: gate(layer.gate, joined, value) * given[1])


def test_ppnet_follows_the_equations(rows):
    head = PPNet(TASKS, units={"click": (4, 3), "watch": (4,)}, gate_units=2)
    head(rows)
    assert_follows(
        shaken(head),
        lambda built: built(rows),
        lambda value: {task.name: tower(head, task.name, rows, value) for task in TASKS},
    )


def test_gates_read_embeddings_without_a_way_back(rows):
    """The slope of the embeddings is that with the gate held still; the domain's and the priors' goes through the gate."""
    layer = EPNet()
    layer([rows[PRIOR], rows["click"]])
    variables = [tf.Variable(rows[name]) for name in (PRIOR, "click")]
    to_domain, to_x = gradients(lambda: ops.sum(layer(list(map(tf.convert_to_tensor, variables)))), variables)
    held = np.asarray(layer.gate(np.concatenate([rows[PRIOR], rows["click"]], -1)))
    np.testing.assert_allclose(to_x, held, rtol=1e-6)
    assert np.abs(to_domain).max() > 0


def test_a_tasks_loss_reaches_its_own_tower_and_gates(rows):
    head = PPNet(TASKS, units=(4,))
    head(rows)
    parts = [
        w
        for task in ("click", "watch")
        for dense, scale in head.layers_of(task)
        for w in (dense.kernel, scale.logits.kernel)
    ]
    found = gradients(lambda: ops.sum(head(rows)["click"]), parts)
    assert [g is not None for g in found] == [True, True, False, False]


def test_reloads(rows, tmp_path):
    inputs = {name: keras.Input((x.shape[1],), name=name) for name, x in rows.items()}
    head = PPNet(TASKS, units=(4, 3), gate_units=2, scale=1.8, activation="gelu", dropout=0.1)
    model = keras.Model(inputs, head(inputs))
    assert_reloads(model, rows, tmp_path)
    assert head.get_config() == PPNet.from_config(head.get_config()).get_config()
    half = PPNet(TASKS, dtype="mixed_bfloat16")(rows)
    assert {np.asarray(y).dtype for y in half.values()} == {np.dtype("float32")}


def test_refuses(rows):
    with pytest.raises(ValueError, match="scale=0"):
        GateNU(4, scale=0)
    with pytest.raises(ValueError, match=r"none for \['watch'\]"):
        PPNet(TASKS, units={"click": (4,), "watch": ()})
    with pytest.raises(ValueError, match=r"lack \['prior'\]"):
        PPNet(TASKS)({task.name: rows[task.name] for task in TASKS})

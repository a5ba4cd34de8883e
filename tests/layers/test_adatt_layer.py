"""AdaTTLayer and AdaTT against their equations and routes."""

import numpy as np
import pytest
from harness import assert_reloads, gradients, ops
from references import assert_follows, relu, shaken, softmax

from tfmtl.keras_host import keras
from tfmtl.layers import AdaTTLayer, CGCLayer
from tfmtl.stages import AdaTT
from tfmtl.typing import SHARED

TASKS = ("buy", "click")
STREAMS = (*TASKS, SHARED)


@pytest.fixture
def streams():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(6, 7)).astype("float32") for name in STREAMS}


def reference(layer, streams, value):
    experts = {}
    for source, cell in layer.experts.items():
        kernels = np.split(value(cell.kernels[0]), cell.num)
        biases = np.split(value(cell.biases[0]), cell.num)
        experts[source] = [relu(streams[source] @ k.T + b) for k, b in zip(kernels, biases, strict=True)]
    everybody = [e for owned in experts.values() for e in owned]
    made = {}
    for stream in (*TASKS, SHARED) if layer.update_shared else TASKS:
        w = softmax(streams[stream] @ value(layer.mixers[stream].logits.kernel))
        own = experts[stream]
        v = value(layer.native[stream]) if len(own) > 1 else np.ones(1)
        made[stream] = sum(w[:, [i]] * e for i, e in enumerate(everybody)) + sum(
            a * e for a, e in zip(v, own, strict=True)
        )
    return made


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("own", "shared"), [(1, 0), (2, 0), (2, 1)])
def test_follows_the_equations(streams, own, shared, training):
    layer = AdaTTLayer(4, num_task_experts=own, num_shared_experts=shared)
    layer(streams)
    assert set(layer.native) == (set(TASKS) if own > 1 else set())
    assert_follows(
        shaken(layer), lambda built: built(streams, training=training), lambda value: reference(layer, streams, value)
    )


def test_is_full_cgc_beside_its_own_experts(streams):
    """Without the residual it is a CGC whose tasks read all experts."""
    layer, cell = (
        AdaTTLayer(4, num_task_experts=2),
        CGCLayer(4, num_shared_experts=0, cross_task="full", update_shared=False),
    )
    y, mixed = layer(streams), cell(streams)
    for source, experts in cell.experts.items():
        experts.set_weights(layer.experts[source].get_weights())
        cell.mixers[source].set_weights(layer.mixers[source].get_weights())
    mixed = cell(streams)
    for task in TASKS:
        experts = np.asarray(layer.experts[task](streams[task]))
        own = np.einsum("e,beu->bu", np.asarray(layer.native[task]), experts)
        np.testing.assert_allclose(np.asarray(y[task]), np.asarray(mixed[task]) + own, rtol=1e-5, atol=1e-6)


def test_every_task_teaches_all_experts_and_only_its_own_gate(streams):
    layer = AdaTTLayer(4, num_task_experts=2, num_shared_experts=1, update_shared=False)
    layer(streams)
    parts = [layer.experts[s].kernels[0] for s in STREAMS]
    parts += [layer.mixers["click"].logits.kernel, layer.native["click"]]
    found = gradients(lambda: ops.sum(layer(streams)["buy"] ** 2), parts)
    reached = [g is not None and bool(np.abs(g).max() > 0) for g in found]
    assert reached == [True, True, True, False, False]


def test_levels_hand_the_shared_stream_on_and_reload(streams, tmp_path):
    trunk = AdaTT((6, 4), num_task_experts=2, num_shared_experts=1, gate_use_bias=True, dropout=0.1)
    inputs = {name: keras.Input((7,), name=name) for name in STREAMS}
    model = keras.Model(inputs, trunk(inputs))
    assert [level.update_shared for level in trunk.levels] == [True, False]
    assert [sorted(each) for each in trunk.gates(streams)] == [sorted(STREAMS), sorted(TASKS)]
    assert_reloads(model, streams, tmp_path)
    alone = AdaTT((4,), num_shared_experts=0)
    assert (alone.reads_own, alone.reads_shared) == (True, False)
    assert set(alone({task: streams[task] for task in TASKS})) == set(TASKS)


def test_refuses():
    with pytest.raises(ValueError, match="num_task_experts=0"):
        AdaTTLayer(4, num_task_experts=0)
    with pytest.raises(ValueError, match="needs shared experts"):
        AdaTTLayer(4, update_shared=True)
    with pytest.raises(ValueError, match="one entry a level"):
        AdaTT(())

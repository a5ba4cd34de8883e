"""CGCLayer and PLE against their equations and their gradient routes."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_all_trained, assert_reloads, gradients, ops

from tfmtl.keras_host import keras
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.stages.trunks import CGC, MMoE, SharedBottom, SingleTask
from tfmtl.stages.trunks.cross_stitch import CrossStitch
from tfmtl.stages.trunks.ml_mmoe import MLMMoE
from tfmtl.stages.trunks.omoe import OMoE
from tfmtl.stages.trunks.ple import PLE
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


def reference(layer, streams):
    """The equations, expert by expert."""
    experts = {}
    for source in layer.experts:
        cell = layer.experts[source]
        kernels = [k.T for k in np.split(np.asarray(cell.kernels[0]), cell.num)]
        biases = np.split(np.asarray(cell.biases[0]), cell.num)
        experts[source] = [np.maximum(streams[source] @ k + b, 0) for k, b in zip(kernels, biases, strict=True)]
    outputs = {}
    for stream in (*TASKS, SHARED) if layer.update_shared else TASKS:
        sees_all = stream == SHARED or layer.cross_task != "none"
        chosen = [e for s in STREAMS if s in experts and (sees_all or s in (stream, SHARED)) for e in experts[s]]
        selector = streams[stream]
        if stream != SHARED and layer.gate_input == "sum":
            selector = selector + streams[SHARED]
        if stream != SHARED and layer.gate_input == "concat":
            selector = np.concatenate([selector, streams[SHARED]], -1)
        if len(chosen) == 1:
            outputs[stream] = chosen[0]
        else:
            w = softmax(selector @ np.asarray(layer.mixers[stream].logits.kernel))
            outputs[stream] = sum(w[:, i : i + 1] * e for i, e in enumerate(chosen))
    return outputs


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_task_experts": 1, "num_shared_experts": 3, "update_shared": False},
        {"num_task_experts": 0, "num_shared_experts": 3},
        {"num_task_experts": 0, "num_shared_experts": 1, "update_shared": False},
        {"num_task_experts": 2, "num_shared_experts": 0},
        {"num_task_experts": 1, "num_shared_experts": 0, "update_shared": False},
        {"cross_task": "detached", "gate_input": "sum"},
        {"cross_task": "full", "gate_input": "concat", "shared_stream_stop_specific": True},
    ],
    ids=str,
)
def test_follows_the_equations(streams, options):
    layer = CGCLayer(5, **options)
    layer(streams)
    layer.set_weights([w + 0.05 for w in layer.get_weights()])
    outputs, expected = layer(streams), reference(layer, streams)
    assert set(outputs) == set(expected)
    assert {k: tuple(v.shape) for k, v in outputs.items()} == layer.compute_output_shape(
        {k: v.shape for k, v in streams.items()}
    )
    for name, y in expected.items():
        np.testing.assert_allclose(np.asarray(outputs[name]), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("one_tensor", [False, True], ids=["streams", "one tensor"])
@pytest.mark.parametrize("cross_task", ["none", "detached", "full"])
@pytest.mark.parametrize("experts", [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)], ids=str)
def test_any_number_of_experts(streams, experts, cross_task, one_tensor):
    """A stream with one candidate has no gate, whatever those have that read the same expert."""
    given = dict.fromkeys(STREAMS, ops.convert_to_tensor(streams[SHARED])) if one_tensor else streams
    for update_shared in (False, True):
        layer = CGCLayer(
            5,
            num_task_experts=experts[0],
            num_shared_experts=experts[1],
            cross_task=cross_task,
            update_shared=update_shared,
        )
        outputs = layer(given, training=True)
        expected = reference(layer, {name: np.asarray(stream) for name, stream in given.items()})
        assert set(outputs) == set(expected)
        served = layer(given)
        for name, y in expected.items():
            np.testing.assert_allclose(np.asarray(outputs[name]), y, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(np.asarray(served[name]), y, rtol=1e-5, atol=1e-6)
        assert_all_trained(layer, lambda: sum(ops.sum(y**2) for y in layer(given, training=True).values()))  # noqa: B023


@pytest.mark.parametrize("gate_input", ["task", "sum"])
@pytest.mark.parametrize("options", [{}, {"cross_task": "full"}, {"num_task_experts": 2}], ids=str)
def test_ple_makes_a_shared_stream_for_those_who_read_it(streams, options, gate_input):
    options = {"num_task_experts": 1, "num_shared_experts": 0, "gate_input": gate_input, **options}
    trunk = PLE((5, 5, 5), **options)
    trunk(streams)
    assert_all_trained(trunk, lambda: sum(ops.sum(y**2) for y in trunk(streams).values()))
    reads = gate_input == "sum" and bool(trunk.levels[0].mixers)  # by gates: there is no shared expert
    assert [level.update_shared for level in trunk.levels] == [reads, reads, False]
    alone = {task: streams[task] for task in TASKS}
    if reads:
        with pytest.raises(ValueError, match="lack 'shared'"):
            PLE((5,), **options)(alone)
    else:
        twin = PLE.from_config(trunk.get_config())
        twin(alone)
        twin.set_weights(trunk.get_weights())
        np.testing.assert_array_equal(np.asarray(twin(alone)["buy"]), np.asarray(trunk(streams)["buy"]))


def test_gates_sum_to_one_over_the_candidates(streams):
    layer = CGCLayer(5, num_task_experts=2, num_shared_experts=3)
    layer(streams)
    gates = {name: np.asarray(w) for name, w in layer.gates(streams).items()}
    assert {name: w.shape for name, w in gates.items()} == {"buy": (6, 5), "click": (6, 5), "shared": (6, 7)}
    assert layer.candidates("shared") == ("buy", "click", "shared")
    for w in gates.values():
        np.testing.assert_allclose(w.sum(-1), 1, rtol=1e-6)


def test_the_order_of_the_dict_does_not_matter(streams):
    layer = CGCLayer(5)
    y = layer(streams)
    shuffled = layer({name: streams[name] for name in reversed(STREAMS)})
    for name in STREAMS:
        np.testing.assert_array_equal(np.asarray(y[name]), np.asarray(shuffled[name]))


def test_parameter_count():
    """(sum m_k + m_s)(d h + h) + sum_k d (m_k + m_s) + d (sum m_k + m_s) for the shared gate."""
    x = np.zeros((2, 10), "float32")
    layer = CGCLayer(5, num_task_experts=2, num_shared_experts=3)
    layer(dict.fromkeys(STREAMS, x))
    assert layer.count_params() == (2 * 2 + 3) * (10 * 5 + 5) + 2 * 10 * (2 + 3) + 10 * (2 * 2 + 3)
    last = CGC(5, num_task_experts=2, num_shared_experts=3)
    last(dict.fromkeys(STREAMS, x))
    assert last.count_params() == layer.count_params() - 10 * (2 * 2 + 3)


def reached(layer, streams, task):
    """Names of the streams whose experts the loss of `task` reaches."""
    names = list(layer.experts)
    kernels = [layer.experts[name].kernels[0] for name in names]
    found = gradients(lambda: ops.sum(layer(streams)[task] ** 2), kernels)
    return {name for name, g in zip(names, found, strict=True) if g is not None and np.abs(g).max() > 0}


@pytest.mark.parametrize(
    ("options", "routes"),
    [
        ({}, {"buy": {"buy", "shared"}, "click": {"click", "shared"}, "shared": {"buy", "click", "shared"}}),
        (
            {"cross_task": "detached", "gate_input": "sum"},
            {"buy": {"buy", "shared"}, "click": {"click", "shared"}, "shared": {"buy", "click", "shared"}},
        ),
        ({"cross_task": "full"}, {name: {"buy", "click", "shared"} for name in STREAMS}),
        (
            {"cross_task": "detached", "shared_stream_stop_specific": True},
            {"buy": {"buy", "shared"}, "shared": {"shared"}},
        ),
    ],
    ids=["cgc", "stem", "full", "stem_strict"],
)
def test_who_may_touch_whose_experts(streams, options, routes):
    layer = CGCLayer(8, **options)
    layer(streams)
    for task, experts in routes.items():
        assert reached(layer, streams, task) == experts


@pytest.mark.parametrize(
    ("make", "products"),
    [
        (lambda: CGCLayer(5), 3),  # its own experts, the shared ones, its gate
        (lambda: CGCLayer(5, cross_task="full"), 4),
        (lambda: MMoE(5, num_experts=3), 2),
        (lambda: MLMMoE((5,), num_experts=3), 2),
        (lambda: SingleTask((5,)), 1),
    ],
    ids=["cgc", "full", "mmoe", "ml_mmoe", "single_task"],
)
def test_outside_of_training_a_task_needs_no_other_tasks_gate(streams, make, products):
    """So an export of one task leaves the others out."""
    layer = make()
    layer(streams)
    given = {name: tf.constant(x) for name, x in streams.items()}
    buy, *_ = tf.function(layer).get_concrete_function(given).outputs  # in the order of the names
    needed, found = [buy.op], set()
    while needed:
        op = needed.pop()
        if op.name not in found:
            found.add(op.name)
            needed += [x.op for x in op.inputs]
    assert sum(buy.graph.get_operation_by_name(name).type == "MatMul" for name in found) == products


@pytest.mark.parametrize(("update_shared", "products"), [(True, 1 + 3), (False, 3 + 2)], ids=["level", "last"])
def test_outside_of_training_experts_that_all_are_read_are_one_product(streams, update_shared, products):
    """Experts and gates of a level that all tasks read; of a last level none may pay for the experts of others."""
    layer = CGCLayer(5, update_shared=update_shared)
    same = dict.fromkeys(STREAMS, ops.convert_to_tensor(streams[SHARED]))
    layer(same)
    graph = (
        tf.function(lambda x: layer(dict.fromkeys(STREAMS, x)))
        .get_concrete_function(tf.constant(streams[SHARED]))
        .graph
    )
    assert sum(op.type == "MatMul" for op in graph.get_operations()) == products


def test_detached_experts_still_count_forward(streams):
    layer = CGCLayer(8, cross_task="detached")
    before = np.asarray(layer(streams)["buy"])
    moved = np.asarray(layer({**streams, "click": streams["click"] + 1})["buy"])
    assert np.abs(before - moved).max() > 1e-3
    full = CGCLayer(8, cross_task="full")
    full(streams)
    full.set_weights(layer.get_weights())
    np.testing.assert_allclose(np.asarray(full(streams)["buy"]), before, rtol=1e-6)


def test_ple_reaches_other_tasks_below_the_last_level_only(streams):
    ple = PLE((8, 6))
    ple(streams)
    kernels = [level.experts["click"].kernels[0] for level in ple.levels]
    below, last = gradients(lambda: ops.sum(ple(streams)["buy"] ** 2), kernels)
    assert np.abs(below).max() > 0
    assert last is None or not np.abs(last).max() > 0


@pytest.mark.parametrize("stop", [False, True])
def test_the_leak_of_stem_over_two_levels(streams, stop):
    """The shared stream of STEM's code lets a task's loss reach another task's first level; the option closes it."""
    trunk = PLE((8, 6), cross_task="detached", gate_input="sum", shared_stream_stop_specific=stop)
    trunk(streams)
    (foreign,) = gradients(lambda: ops.sum(trunk(streams)["buy"] ** 2), [trunk.levels[0].experts["click"].kernels[0]])
    leaks = foreign is not None and np.abs(foreign).max() > 0
    assert leaks is not stop


def test_second_level_reads_the_level_below(streams):
    ple = PLE((8, 6))
    ple(streams)
    before = np.asarray(ple.gates(streams)[1]["buy"])
    first = ple.levels[0].experts["buy"]
    first.set_weights([w * 2 for w in first.get_weights()])
    assert np.abs(np.asarray(ple.gates(streams)[1]["buy"]) - before).max() > 1e-4


def test_one_level_of_ple_is_cgc(streams):
    ple, cgc = PLE((8,)), CGC(8)
    ple(streams), cgc(streams)
    cgc.set_weights(ple.get_weights())
    for task in TASKS:
        np.testing.assert_array_equal(np.asarray(ple(streams)[task]), np.asarray(cgc(streams)[task]))


def test_degenerate_cases(streams):
    x = streams[SHARED]
    same = dict.fromkeys(STREAMS, x)
    mmoe = MMoE(8, num_experts=3)
    assert set(mmoe(streams)) == set(TASKS)
    assert set(mmoe.experts) == {SHARED}
    shared = SharedBottom((8, 4))
    y = shared(same)
    np.testing.assert_array_equal(np.asarray(y["buy"]), np.asarray(y["click"]))
    assert not shared.mixers and not SingleTask((8, 4)).build(dict.fromkeys(STREAMS, (None, 10)))
    single = SingleTask((8, 4))
    single(streams)
    assert reached(single, streams, "buy") == {"buy"}


@pytest.mark.parametrize(
    "trunk",
    [
        PLE((8, (7, 6))),
        CGC(8),
        MMoE(8, num_experts=3),
        SharedBottom((8,)),
        SingleTask((8,)),
        PLE((8, 6), cross_task="detached"),
    ],
    ids=["ple", "cgc", "mmoe", "shared_bottom", "single_task", "stem"],
)
def test_every_variable_is_trained(streams, trunk):
    trunk(streams)
    assert_all_trained(trunk, lambda: sum(ops.sum(y**2) for y in trunk(streams).values()))


@pytest.mark.parametrize("seed", [None, 3])
def test_no_two_experts_start_equal(streams, seed):
    ple = PLE((10, 10), kernel_initializer=keras.initializers.GlorotUniform(seed=seed))
    ple(streams)
    kernels = [
        k for level in ple.levels for e in level.experts.values() for k in np.split(np.asarray(e.kernels[0]), e.num)
    ]
    assert len(kernels) == 12
    for i, kernel in enumerate(kernels):
        assert all(np.abs(kernel - other).max() > 0.05 for other in kernels[:i])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_close(streams, policy):
    exact, half = PLE((8, 6)), PLE((8, 6), dtype=policy)
    exact(streams), half(streams)
    half.set_weights(exact.get_weights())
    for task in TASKS:
        np.testing.assert_allclose(
            np.asarray(ops.cast(half(streams)[task], "float32")), np.asarray(exact(streams)[task]), atol=5e-2
        )


def test_reloads_in_a_fresh_process(streams, tmp_path):
    inputs = {name: keras.Input((10,), name=name) for name in STREAMS}
    trunk = PLE((8, (7, 6)), num_task_experts=1, gate_units=(4,), gate_input="concat", dropout=0.1, activation="tanh")
    assert_reloads(keras.Model(inputs, trunk(inputs)), streams, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_task_experts": 0, "num_shared_experts": 0}, "must be >= 1. Received: 0 and 0"),
        ({"num_task_experts": -1}, "num_task_experts=-1"),
        ({"num_shared_experts": 1.5}, "num_shared_experts=1.5"),
        ({"gate_input": "raw"}, "gate_input='raw'"),
        ({"cross_task": "all"}, "cross_task='all'"),
        ({"dropout": 1.5}, "dropout=1.5"),
        ({"units": ()}, r"units=\(\)"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        CGCLayer(**{"units": 8, **arguments})


def test_refuses_streams_that_do_not_fit(streams):
    with pytest.raises(ValueError, match="lack 'shared'"):
        CGCLayer(8)({task: streams[task] for task in TASKS})
    with pytest.raises(ValueError, match="no task"):
        CGCLayer(8)({SHARED: streams[SHARED]})
    with pytest.raises(ValueError, match="gate_input='concat'"):
        CGCLayer(8, gate_input="sum")({**streams, "buy": streams["buy"][:, :3]})
    with pytest.raises(ValueError, match="one entry a level"):
        PLE(())
    with pytest.raises(ValueError, match=r"of the shape \(B, D\). Received: \{'a': \(8, 5, 3\)\}"):
        CGCLayer(8)({"a": ops.zeros((8, 5, 3)), SHARED: ops.zeros((8, 3))})
    with pytest.raises(ValueError, match="dict"):
        CGCLayer(8)(streams["buy"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: CGCLayer(4),
        lambda: PLE((4, 4)),
        lambda: CrossStitch((4,)),
        lambda: OMoE(4, num_experts=2),
        lambda: MLMMoE((4, 4), num_experts=2),
        lambda: StaticSharing((4,)),
    ],
)
def test_a_built_layer_keeps_to_its_tasks(make, streams):
    layer = make()
    layer(streams)
    x = streams["buy"]
    for others in ({"buy": x, "like": x, SHARED: x}, {**streams, "like": x}, {"buy": x, SHARED: x}):
        with pytest.raises(ValueError, match=r"was built for the tasks \['buy', 'click'\]. Received: keys="):
            layer(others)

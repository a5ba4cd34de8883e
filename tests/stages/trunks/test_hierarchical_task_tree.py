"""HierarchicalTaskTree against its equations, its gradient routes, and the switchers it is made of."""

from itertools import product

import numpy as np
import pytest
from harness import assert_all_trained, assert_reloads, gradients, ops

from tfmtl.keras_host import dtype_of, keras
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.stages.trunks import CGC, MMoE, SharedBottom, SingleTask
from tfmtl.stages.trunks.hierarchical_task_tree import HierarchicalTaskTree
from tfmtl.stages.trunks.ple import PLE
from tfmtl.typing import SHARED

FACETS = {"behavior": ("finish", "skip"), "group": ("new", "low", "high")}
THREE = {"a": ("x", "y"), "b": ("p", "q", "r"), "c": ("1", "2")}
WIDTH = 10


def small_tree(facets=FACETS, **options):
    switchers = {
        "root": SharedBottom((9,)),
        "facet": PLE((8, 7)),
        "leaf": CGC(6, num_task_experts=1, num_shared_experts=1),
    }
    return HierarchicalTaskTree(facets, **{**switchers, **options})


def streams_of(tree, rows=5):
    """Random streams; those of the tasks differ from the shared one."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(rows, WIDTH)).astype("float32") for name in (*tree.tasks, SHARED)}


def total(outputs):
    return sum(ops.sum((y - 0.1) ** 2) for y in outputs.values())


def run(switcher, x, branches):
    """A switcher that reads `x` alone."""
    outputs = switcher(dict.fromkeys((*branches, SHARED), x))
    return {branch: np.asarray(outputs[branch]) for branch in branches}


@pytest.mark.parametrize("merge", ["add", "concat"])
@pytest.mark.parametrize("root", [SharedBottom((9,)), None], ids=["root", "no_root"])
def test_two_facets_follow_the_equations(merge, root):
    tree = small_tree(root=root, merge=merge)
    streams = streams_of(tree)
    outputs = tree(streams)
    behaviors, groups = FACETS.values()

    u = run(tree.switchers["root"], streams[SHARED], FACETS) if root else dict.fromkeys(FACETS, streams[SHARED])
    p = run(tree.switchers["behavior"], u["behavior"], behaviors)
    q = run(tree.switchers["group"], u["group"], groups)
    assert set(outputs) == {f"{a}_{g}" for a in behaviors for g in groups}
    for a, g in product(behaviors, groups):
        r = run(tree.switchers[f"behavior_{a}"], p[a], [f"{a}_{other}" for other in groups])[f"{a}_{g}"]
        s = run(tree.switchers[f"group_{g}"], q[g], [f"{other}_{g}" for other in behaviors])[f"{a}_{g}"]
        expected = r + s if merge == "add" else np.concatenate([r, s], -1)
        np.testing.assert_allclose(np.asarray(outputs[f"{a}_{g}"]), expected, rtol=1e-5, atol=1e-6)
    shapes = {name: x.shape for name, x in streams.items()}
    assert tree.compute_output_shape(shapes) == {name: tuple(y.shape) for name, y in outputs.items()}


def test_three_facets_and_the_rest_at_once():
    tree = small_tree(THREE)
    streams = streams_of(tree)
    outputs = tree(streams)
    assert len(outputs) == 12
    u = run(tree.switchers["root"], streams[SHARED], THREE)
    expected = dict.fromkeys(tree.tasks, 0.0)
    for facet, values in THREE.items():
        v = run(tree.switchers[facet], u[facet], values)
        for value in values:
            below = ["_".join(task) for task in product(*THREE.values()) if task[list(THREE).index(facet)] == value]
            for task, leaf in run(tree.switchers[f"{facet}_{value}"], v[value], below).items():
                expected[task] = expected[task] + leaf
    for task in tree.tasks:
        np.testing.assert_allclose(np.asarray(outputs[task]), expected[task], rtol=1e-5, atol=1e-6)


def test_three_facets_one_after_the_other():
    tree = small_tree(THREE, tree_mode="full_order", trees=("b",))
    streams = streams_of(tree)
    outputs = tree(streams)
    u = run(tree.switchers["root"], streams[SHARED], ("b",))["b"]
    v = run(tree.switchers["b"], u, THREE["b"])["q"]
    w = run(tree.switchers["b_q"], v, ["x_q", "y_q"])["y_q"]  # branches are named in the order of the facets
    leaf = run(tree.switchers["b_q_y"], w, ["y_q_1", "y_q_2"])["y_q_2"]
    np.testing.assert_allclose(np.asarray(outputs["y_q_2"]), leaf, rtol=1e-5, atol=1e-6)
    assert len(tree.nodes) == 1 + 1 + 3 + 3 * 2
    whole = small_tree(THREE, tree_mode="full_order")
    assert len(whole.nodes) == 1 + 3 + (2 + 3 + 2) + (2 * 3 + 3 * 2 + 2 * 2)


@pytest.mark.parametrize("facets", [FACETS, THREE], ids=["two", "three"])
def test_number_of_switchers(facets):
    """1 + F + sum_f n_f; the leaves are the product of the facets."""
    tree = small_tree(facets)
    values = [len(names) for names in facets.values()]
    assert len(tree.nodes) == len(tree.switchers) == 1 + len(facets) + sum(values)
    assert len(tree.tasks) == np.prod(values)
    assert len(small_tree(facets, root=None).nodes) == len(tree.nodes) - 1
    last = [node for node in tree.nodes if node.is_last]
    assert sorted(b for node in last for b in node.branches) == sorted(len(facets) * list(tree.tasks))


def test_parameter_count():
    """Root, two CGC facets and five leaves, counted by CGC's own formula."""

    def cgc(width, units, branches, own, shared):
        return (own * branches + shared) * (width + 1) * units + branches * width * (own + shared)

    tree = small_tree(facet=CGC(8, num_task_experts=2, num_shared_experts=3))
    tree(streams_of(tree))
    root = (WIDTH + 1) * 9
    facets = cgc(9, 8, 2, 2, 3) + cgc(9, 8, 3, 2, 3)
    leaves = 2 * cgc(8, 6, 3, 1, 1) + 3 * cgc(8, 6, 2, 1, 1)
    assert tree.count_params() == root + facets + leaves


def test_one_facet_is_a_single_switcher():
    for values in (("only",), ("new", "low", "high")):
        tree = HierarchicalTaskTree({"group": values}, facet=PLE((8, 7)))
        streams = streams_of(tree)
        outputs, ple = tree(streams), PLE((8, 7))
        alike = dict.fromkeys(streams, ops.convert_to_tensor(streams[SHARED]))  # one tensor, as a tree hands it on
        ple(alike)
        assert [node.name for node in tree.nodes] == ["group"]
        ple.set_weights(tree.get_weights())
        for task, y in ple(alike).items():
            np.testing.assert_array_equal(np.asarray(outputs[task]), np.asarray(y))


def test_one_tree_is_h_mtl():
    mfh, h_mtl = small_tree(), small_tree(trees=("behavior",))
    streams = streams_of(mfh)
    mfh(streams), h_mtl(streams)
    assert [node.name for node in h_mtl.nodes] == ["root", "behavior", "behavior_finish", "behavior_skip"]
    for name, switcher in h_mtl.switchers.items():
        mine = mfh.switchers[name]
        switcher.set_weights(mine.get_weights())
    u = run(mfh.switchers["root"], streams[SHARED], FACETS)["behavior"]
    p = run(mfh.switchers["behavior"], u, FACETS["behavior"])["skip"]
    branch = run(mfh.switchers["behavior_skip"], p, ["skip_new", "skip_low", "skip_high"])["skip_low"]
    np.testing.assert_allclose(np.asarray(h_mtl(streams)["skip_low"]), branch, rtol=1e-5, atol=1e-6)


def reached(tree, streams, task):
    """Names of the nodes that the loss of `task` reaches."""
    weights = [(node, w) for node, switcher in tree.switchers.items() for w in switcher.trainable_variables]
    found = gradients(lambda: ops.sum(tree(streams)[task] ** 2), [w for _, w in weights])
    return {node for (node, _), g in zip(weights, found, strict=True) if g is not None and np.abs(g).max() > 0}


def test_a_task_reaches_its_own_values_switchers_only():
    tree = small_tree()
    streams = streams_of(tree)
    tree(streams)
    for a, g in product(*FACETS.values()):
        assert reached(tree, streams, f"{a}_{g}") == {"root", "behavior", "group", f"behavior_{a}", f"group_{g}"}


def test_a_task_does_not_reach_the_experts_of_its_siblings():
    tree = small_tree()
    streams = streams_of(tree)
    tree(streams)
    experts = tree.switchers["behavior_skip"].experts
    own, sibling, shared = gradients(
        lambda: ops.sum(tree(streams)["skip_new"] ** 2),
        [experts[s].kernels[0] for s in ("skip_new", "skip_low", SHARED)],
    )
    assert np.abs(own).max() > 0 and np.abs(shared).max() > 0
    assert sibling is None or not np.abs(sibling).max() > 0


def test_reads_the_shared_stream_alone():
    tree = small_tree()
    streams = streams_of(tree)
    before = np.asarray(tree(streams)["skip_new"])
    np.testing.assert_array_equal(
        np.asarray(tree({**streams, "skip_new": streams["skip_new"] + 1})["skip_new"]), before
    )
    assert np.abs(np.asarray(tree({**streams, SHARED: streams[SHARED] + 1})["skip_new"]) - before).max() > 1e-3
    assert (tree.reads_own, tree.reads_shared) == (False, True)


@pytest.mark.parametrize("seed", [None, 3])
def test_no_two_switchers_start_equal(seed):
    initializer = keras.initializers.GlorotUniform(seed=seed)
    facet, leaf = PLE((8, 8), kernel_initializer=initializer), CGC(8, kernel_initializer=initializer)
    trees = [
        small_tree({"a": ("x", "y"), "b": ("p", "q")}, root=None, facet=facet, leaf=leaf, name=name)
        for name in ("one", "two")
    ]
    kernels = []
    for tree in trees:
        tree(dict.fromkeys((*tree.tasks, SHARED), np.zeros((1, 8), "float32")))
        switchers = tree.switchers.values()
        levels = [level for switcher in switchers for level in getattr(switcher, "levels", [switcher])]
        cells = [experts for level in levels for experts in level.experts.values()]
        kernels += [k for cell in cells for k in np.split(np.asarray(cell.kernels[0]), cell.num)]
    assert len(kernels) == 2 * (2 * 2 + 4) * 6  # trees, their levels, experts of a level
    stacked = np.stack(kernels).reshape(len(kernels), -1)
    distances = np.abs(stacked[:, None] - stacked[None]).max(-1) + np.eye(len(kernels))
    assert distances.min() > 0.05


def test_a_seed_gives_the_same_tree_again():
    options = {"facet": PLE((8, 8), kernel_initializer=keras.initializers.GlorotUniform(seed=3)), "root": None}
    kernels = []
    for tree in (small_tree(**options), small_tree(**options)):
        tree(streams_of(tree))
        kernels.append(np.asarray(tree.switchers["group"].levels[1].experts["low"].kernels[0]))
    np.testing.assert_array_equal(*kernels)


@pytest.mark.parametrize(
    "switcher",
    [PLE((8, (7, 6))), CGC(8), MMoE(8, num_experts=3), SharedBottom((8,)), SingleTask((8, 7))],
    ids=["ple", "cgc", "mmoe", "shared_bottom", "single_task"],
)
def test_any_trunk_is_a_switcher_at_any_level(switcher):
    tree = small_tree(root=switcher, facet=switcher, leaf=switcher)
    streams = streams_of(tree, rows=64)
    tree(streams)
    assert not switcher.built
    assert_all_trained(tree, lambda: total(tree(streams)))


def test_training_reaches_the_switchers():
    tree = small_tree(leaf=CGC(6, dropout=0.5))
    streams = streams_of(tree)
    still = [np.asarray(tree(streams, training=False)["skip_new"]) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    assert np.abs(np.asarray(tree(streams, training=True)["skip_new"]) - still[0]).max() > 1e-3


def test_gates_of_every_node():
    tree = small_tree()
    streams = streams_of(tree)
    tree(streams)
    gates = tree.gates(streams)
    assert set(gates) == set(tree.switchers)
    assert [{name: w.shape[-1] for name, w in level.items()} for level in gates["behavior"]] == [
        {"finish": 4, "skip": 4, SHARED: 6},
        {"finish": 4, "skip": 4},
    ]
    np.testing.assert_allclose(np.asarray(gates["group_new"]["skip_new"]).sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_close(policy):
    def tree_of(dtype):
        leaf = CGC(6, num_task_experts=1, num_shared_experts=1, dtype=dtype)
        return small_tree(root=SharedBottom((9,), dtype=dtype), facet=PLE((8, 7), dtype=dtype), leaf=leaf, dtype=dtype)

    exact, half = tree_of("float32"), tree_of(policy)
    streams = streams_of(exact)
    outputs = exact(streams)
    half(streams)
    half.set_weights(exact.get_weights())
    for task, y in half(streams).items():
        np.testing.assert_allclose(np.asarray(ops.cast(y, "float32")), np.asarray(outputs[task]), atol=5e-2)


def test_the_config_makes_the_same_tree():
    tree = small_tree(THREE, merge="concat", trees=("a", "c"), tree_mode="full_order", root=None)
    streams = streams_of(tree)
    outputs, again = tree(streams), HierarchicalTaskTree.from_config(tree.get_config())
    again(streams)
    assert again.nodes == tree.nodes and again.get_config() == tree.get_config()
    again.set_weights(tree.get_weights())
    for task, y in again(streams).items():
        np.testing.assert_array_equal(np.asarray(y), np.asarray(outputs[task]))


def test_reloads_in_a_fresh_process(tmp_path):
    facet = PLE((8, (7, 6)), gate_units=(4,), activation="tanh", kernel_initializer=keras.initializers.HeNormal(seed=1))
    unsorted = {"group": ("new", "low"), "behavior": ("skip", "finish")}  # names follow the order of the facets
    tree = small_tree(unsorted, facet=facet, merge="concat")
    inputs = {name: keras.Input((WIDTH,), name=name) for name in (*tree.tasks, SHARED)}
    assert_reloads(keras.Model(inputs, tree(inputs)), streams_of(tree), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"facets": {}}, r"one facet or more. Received: facets=\{\}"),
        ({"facets": ["a", "b"]}, "one facet or more"),
        ({"facets": {"a": (), "b": ("x",)}}, r"Facet 'a' needs names, one or more. Received: \(\)"),
        ({"facets": {"a": "xy", "b": ("x",)}}, "Facet 'a' needs names"),
        ({"facets": {"a": ("x", "x"), "b": ("p",)}}, "name='x' twice"),
        ({"facets": {"a": (v for v in "xx"), "b": ("p",)}}, "name='x' twice"),
        ({"facets": {"a": (v for v in ()), "b": ("p",)}}, r"Facet 'a' needs names, one or more. Received: \(\)"),
        ({"facets": {"a": ("x", "x_y"), "b": ("y_z", "z")}}, "Two tasks have the same name. Received: name='x_y_z'"),
        ({"facets": {"a": ("x", SHARED), "b": ("p",)}}, "may be called 'shared'"),
        ({"facets": {"a": ("x",), SHARED: ("p",)}}, "may be called 'shared'"),
        ({"facets": {"a": ("18+",), "b": ("p",)}}, r"name='18\+_p'"),
        ({"facets": {"a b": ("x",), "b": ("p",)}}, "A facet must be named"),
        ({"facets": {"a": ("b", "c"), "a_b": ("x", "y")}}, "Two nodes have the same name. Received: name='a_b'"),
        ({"facet": None}, "`facet` is missing"),
        ({"leaf": None}, "leaf=None with 2 facets"),
        ({"facets": {"a": ("x", "y")}}, "with 1 facets"),
        ({"facet": "ple"}, "facet='ple'"),
        ({"merge": "mean"}, "merge='mean'"),
        ({"tree_mode": "deep"}, "tree_mode='deep'"),
        ({"trees": ()}, r"trees=\(\)"),
        ({"trees": ("group", "group")}, "must be distinct facets"),
        ({"trees": ("item",)}, r"of \['behavior', 'group'\]. Received: trees=\('item',\)"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_tree(**{"facets": FACETS, **arguments})


def test_refuses_streams_that_do_not_fit():
    tree = small_tree()
    streams = streams_of(tree)
    with pytest.raises(ValueError, match=r"lack \['skip_new'\] and hold unknown \['buy_new'\]"):
        tree({name.replace("skip_new", "buy_new"): x for name, x in streams.items()})
    with pytest.raises(ValueError, match="lack 'shared'"):
        small_tree()({name: x for name, x in streams.items() if name != SHARED})
    with pytest.raises(ValueError, match="dict"):
        small_tree()(streams[SHARED])
    with pytest.raises(ValueError, match=r"'behavior_finish' must give the branches .* update_shared=False"):
        small_tree(leaf=CGCLayer(6))(streams)


def test_switchers_compute_under_the_trees_policy():
    tree = HierarchicalTaskTree({"u": ("a", "b")}, root=SharedBottom((4,)), facet=PLE((4,)), dtype="mixed_bfloat16")
    outputs = tree(dict.fromkeys(["a", "b", "shared"], np.ones((2, 3), "float32")))
    assert {dtype_of(y) for y in outputs.values()} == {"bfloat16"}
    assert {switcher.compute_dtype for switcher in tree.switchers.values()} == {"bfloat16"}


def test_facets_may_come_from_generators():
    assert small_tree({"a": (v for v in "xy"), "b": (v for v in "pq")}).tasks == ("x_p", "x_q", "y_p", "y_q")

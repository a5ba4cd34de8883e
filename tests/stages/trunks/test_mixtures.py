"""Layers of experts and gates show what they do: experts times weights is what they give."""

import numpy as np
import pytest

from tfmtl.keras_host import ops
from tfmtl.layers import CGCLayer
from tfmtl.stages import CGC, PLE, HierarchicalTaskTree, MLMMoE, MMoE, OMoE, SharedBottom
from tfmtl.typing import SHARED, MixesExperts

TASKS = ("buy", "click")


def streams(tasks=TASKS):
    return {
        name: ops.convert_to_tensor(np.random.default_rng(1).normal(size=(6, 5)), "float32")
        for name in (*tasks, SHARED)
    }


def mixed(mixture, reader):
    """`sum_i w_i e_i` of one reader."""
    experts = np.concatenate([np.asarray(mixture.experts[owner]) for owner in mixture.candidates[reader]], axis=1)
    return np.einsum("bn,bnu->bu", np.asarray(mixture.gates[reader]), experts)


@pytest.mark.parametrize(
    ("trunk", "levels"),
    [
        (CGCLayer(4, update_shared=False, name="cell"), ["cell"]),
        (CGC(4, cross_task="detached"), ["trunk"]),
        (MMoE(4, num_experts=3), ["trunk"]),
        (PLE((7, 4), num_task_experts=1), ["trunk/level_0", "trunk/level_1"]),
        (MLMMoE((7, 4), num_experts=3), ["trunk/level_0", "trunk/level_1"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_last_mixture_is_what_the_layer_gives(trunk, levels):
    given = trunk(streams())
    mixtures = trunk.mixtures(streams())
    assert isinstance(trunk, MixesExperts) and [each.name for each in mixtures] == levels
    for task in TASKS:
        np.testing.assert_allclose(mixed(mixtures[-1], task), given[task], rtol=1e-5, atol=1e-6)


def test_one_gate_for_all_is_that_of_the_shared_stream():
    trunk = OMoE(4, num_experts=3)
    given = trunk(streams())
    (mixture,) = trunk.mixtures(streams())
    np.testing.assert_allclose(mixed(mixture, SHARED), given["buy"], rtol=1e-5, atol=1e-6)


def test_a_tree_shows_every_node_that_mixes():
    trunk = HierarchicalTaskTree({"group": ("new", "old"), "kind": TASKS}, facet=PLE((4,)), leaf=SharedBottom(4))
    given = streams(trunk.tasks)
    trunk(given)
    mixtures = trunk.mixtures(given)
    gated = {each.name: tuple(sorted(each.gates)) for each in mixtures if each.gates}  # the leaves have one expert each
    assert gated == {"trunk/group/level_0": ("new", "old"), "trunk/kind/level_0": TASKS}

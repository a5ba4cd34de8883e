"""The contract of stages: ours keep it, and what it lacks is named."""

import numpy as np
import pytest

from tfmtl import stages
from tfmtl.keras_host import keras
from tfmtl.schema import Categorical, Sequence, Task
from tfmtl.stages.stage import Bottom, Gated, Head, Trunk, check_stage

TASKS = [Task("view_new"), Task("keep_new")]
NAMES = [task.name for task in TASKS]
ITEM = Categorical("item", num_ids=6, dim=4, table="item")
FEATURES = [ITEM, Sequence("seen", (ITEM,), length=3)]
FACETS = {"behavior": ("view", "keep"), "group": ("new",)}

MADE = {
    "SharedBottomRepresentation": lambda cls: cls(FEATURES, NAMES),
    "STEMRepresentation": lambda cls: cls(FEATURES, NAMES),
    "DTRNRepresentation": lambda cls: cls(FEATURES, NAMES, target="item"),
    "AsymmetricSharing": lambda cls: cls((4,), donors={"keep_new": ["view_new"]}),
    "HierarchicalTaskTree": lambda cls: cls(FACETS, facet=stages.PLE((4,)), leaf=stages.MMoE(4)),
    "Towers": lambda cls: cls(TASKS),
    "ESMMHead": lambda cls: cls(TASKS, NAMES),
    "AITMHead": lambda cls: cls(TASKS, NAMES),
    "DBMTLHead": lambda cls: cls(TASKS, {"keep_new": ["view_new"]}),
    "ESCM2Head": lambda cls: cls(TASKS, NAMES),
    "PPNet": lambda cls: cls(TASKS),
    "STARHead": lambda cls: cls(TASKS),
}
CONTRACTS = {"Bottom", "Gated", "Head", "ReadsSideStreams", "Trunk"}
BOTTOMS = {name for name in MADE if name.endswith("Representation")}
HEADS = {"AITMHead", "DBMTLHead", "ESCM2Head", "ESMMHead", "PPNet", "STARHead", "Towers"}
TRUNKS = sorted(set(stages.__all__) - CONTRACTS - BOTTOMS - HEADS)
WITHOUT_GATES = {"AsymmetricSharing", "CrossStitch", "CustomizedSharing", "PassThrough", "SNR", "Sluice"}


def made(name):
    cls = getattr(stages, name)
    return MADE[name](cls) if name in MADE else cls()


@pytest.mark.parametrize("name", sorted(set(stages.__all__) - CONTRACTS))
def test_every_stage_keeps_one_contract(name):
    contract = Bottom if name in BOTTOMS else Head if name in HEADS else Trunk
    stage = made(name)
    assert [each for each in (Bottom, Trunk, Head) if isinstance(stage, each)] == [contract]
    assert stage.name == {Bottom: "bottom", Trunk: "trunk", Head: "head"}[contract]
    check_stage("stage", stage, contract)


@pytest.mark.parametrize("name", TRUNKS)
def test_trunks_with_gates_show_weights_that_sum_to_1(name):
    trunk = made(name)
    assert isinstance(trunk, Gated) == (name not in WITHOUT_GATES)
    if not isinstance(trunk, Gated):
        return
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    streams = dict.fromkeys([*NAMES, "shared"], x)
    trunk(streams)
    found = leaves(trunk.gates(streams))
    assert bool(found) == (name not in ("SingleTask", "SharedBottom"))  # which have one candidate a stream
    for weights in found:
        np.testing.assert_allclose(np.asarray(weights).sum(-1), 1, rtol=1e-5)


def leaves(gates):
    """The weights of `{stream: weights}`, of a list of those, or of a dict of either."""
    if isinstance(gates, dict):
        return [leaf for part in gates.values() for leaf in leaves(part)]
    return [leaf for part in gates for leaf in leaves(part)] if isinstance(gates, list) else [gates]


def test_what_a_stage_lacks_is_named():
    class Nearly(keras.layers.Layer):
        task_specific = True
        tasks = ("click",)

    with pytest.raises(ValueError, match=r"`mine` must .*stages.Bottom.* Nearly, .* \['features', 'shared_specific'\]"):
        check_stage("mine", Nearly(), Bottom)

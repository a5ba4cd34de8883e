"""What is frozen stays frozen: before it is built, through a file, and in a clone."""

import numpy as np
import pytest

from tfmtl import PLE, Categorical, HierarchicalTaskTree, Schema, SharedBottom, Task, ple, stem_net
from tfmtl.keras_host import keras

SCHEMA = Schema([Categorical("a", num_ids=5, dim=4), Categorical("b", num_ids=5, dim=4)], [Task("click"), Task("buy")])
ROWS = {name: np.array([1, 2, 3, 0], "int32") for name in ("a", "b")}
LABELS = {task: np.array([1.0, 0, 1, 0]) for task in SCHEMA.task_names}
MODELS = {
    "ple": lambda: ple(SCHEMA, units=(4,), tower_units=(4,), towers={"batch_norm": True}),
    "stem_net": lambda: stem_net(SCHEMA, units=(4,), tower_units=(4,)),
}


@pytest.mark.parametrize("stage", ["bottom", "trunk", "head"])
@pytest.mark.parametrize("make", MODELS)
def test_a_frozen_stage_is_frozen_in_a_file(make, stage, tmp_path):
    model = MODELS[make]()
    model.get_layer(stage).trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_weights) == len(model.trainable_weights) < len(model.weights)
    before = loaded.get_layer(stage).get_weights()  # moving statistics too
    loaded.compile("sgd", dict.fromkeys(LABELS, "binary_crossentropy"), run_eagerly=True)
    loaded.fit(ROWS, LABELS, verbose=0)
    for mine, wanted in zip(loaded.get_layer(stage).get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, wanted)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PLE((4, 4), trainable=False),
        lambda: HierarchicalTaskTree({"u": ("a", "b")}, root=SharedBottom((4,)), facet=PLE((4,)), trainable=False),
    ],
    ids=["ple", "tree"],
)
def test_a_layer_made_frozen(make):
    inputs = {name: keras.Input((6,), name=name) for name in ("a", "b", "shared")}
    model = keras.Model(inputs, make()(inputs))
    assert model.weights and not model.trainable_weights
    assert not keras.models.clone_model(model).trainable_weights
    model.layers[-1].trainable = True
    assert len(model.trainable_weights) == len(model.weights)

"""What is frozen stays frozen: before it is built, through a file, and in a clone."""

import numpy as np
import pytest

from tfmtl import PLE, Categorical, HierarchicalTaskTree, Schema, SharedBottom, Task
from tfmtl.keras_host import keras, register_layer
from tfmtl.models import ple, stem_net
from tfmtl.stages.trunks.asymmetric_sharing import AsymmetricSharing
from tfmtl.stages.trunks.cross_stitch import CrossStitch
from tfmtl.stages.trunks.customized_sharing import CustomizedSharing
from tfmtl.stages.trunks.sluice import Sluice

SCHEMA = Schema([Categorical("a", num_ids=5, dim=4), Categorical("b", num_ids=5, dim=4)], [Task("click"), Task("buy")])
ROWS = {name: np.array([1, 2, 3, 0], "int32") for name in ("a", "b")}
LABELS = {task: np.array([1.0, 0, 1, 0]) for task in SCHEMA.task_names}
TASKS = ("a", "b")
MODELS = {
    "ple": lambda: ple(SCHEMA, units=(4,), tower_units=(4,), tower_batch_norm=True),
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


TRUNKS = {
    "ple": lambda **frozen: PLE((4, 4), **frozen),
    "tree": lambda **frozen: HierarchicalTaskTree({"u": TASKS}, root=SharedBottom((4,)), facet=PLE((4,)), **frozen),
    # These inherit `build`.
    "shared_bottom": lambda **frozen: SharedBottom((4,), **frozen),
    "cross_stitch": lambda **frozen: CrossStitch((4, 4), **frozen),
    "sluice": lambda **frozen: Sluice((4, 4), **frozen),
    "customized_sharing": lambda **frozen: CustomizedSharing((4,), **frozen),
    "asymmetric_sharing": lambda **frozen: AsymmetricSharing((4,), donors={"b": ["a"]}, **frozen),
}


@pytest.mark.parametrize("make", TRUNKS)
def test_a_layer_made_frozen(make):
    inputs = {name: keras.Input((6,), name=name) for name in (*TASKS, "shared")}
    model = keras.Model(inputs, TRUNKS[make](trainable=False)(inputs))
    assert model.weights and not model.trainable_weights
    assert not keras.models.clone_model(model).trainable_weights
    model.layers[-1].trainable = True
    assert len(model.trainable_weights) == len(model.weights)


@register_layer
class Freezable(keras.layers.Layer):
    def build(self, input_shape):
        self.built = True


def test_every_registered_layer_can_be_made_frozen():
    """Also one that inherits `build`, and one whose subclass has a `build` of its own."""
    # A metric is a layer in tf_keras; a functional model has the weights of its layers.
    without_weights = (keras.metrics.Metric, keras.Model)
    layers = {
        name: kind
        for name, kind in keras.saving.get_custom_objects().items()
        if name.startswith("tfmtl>") and isinstance(kind, type) and issubclass(kind, keras.layers.Layer)
        if not issubclass(kind, without_weights)
    }
    assert len(layers) > 25
    by_us = Freezable.build.__code__  # of the function that `register_layer` puts in place of `build`
    assert [name for name, kind in layers.items() if getattr(kind.build, "__code__", None) is not by_us] == []

"""Every way of saving brings back every weight and all that the optimizer remembers, or refuses."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import tensorflow as tf
from every_preset import ROWS, labels, small

import tfmtl
from tfmtl.keras_host import LEGACY, keras
from tfmtl.layers import CGCLayer, TaskTower
from tfmtl.named_model import NamedModel
from tfmtl.optimizers import LazyAdam, RowWiseAdagrad, optimizer
from tfmtl.training.balancing import FAMO, balanced

OPTIMIZERS = {
    "lazy": lambda: LazyAdam(0.1),
    "split": lambda: optimizer(
        embeddings=RowWiseAdagrad(0.1), dense=keras.optimizers.Adam(name="adam")
    ),  # or Keras numbers it
}


def numbers(model):
    """Weights, and what the optimizer remembers."""
    held = model.optimizer.variables
    return [np.asarray(v) for v in [*model.weights, *(held() if callable(held) else held)]]


def assert_same(found, wanted):
    assert [each.shape for each in found] == [each.shape for each in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def compiled(kind):
    """Eagerly, since a graph takes longer to make than these steps to take."""
    model, schema = small("shared_bottom")
    model.compile(OPTIMIZERS[kind](), **tfmtl.objectives(schema.tasks), run_eagerly=True)
    return model, schema


def trained(kind, steps):
    model, schema = compiled(kind)
    model.fit(ROWS, labels(schema), epochs=steps, verbose=0)
    return model


def through_keras(model, kind, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def through_weights(model, kind, folder):
    model.save_weights(folder / "model.weights.h5")
    other = trained(kind, 1)
    other.load_weights(folder / "model.weights.h5")
    return other


def through_checkpoint(model, kind, folder):
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(folder / "checkpoint")
    other = trained(kind, 1)
    status = tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    status.assert_existing_objects_matched().assert_consumed()
    return other


def through_model_checkpoint(model, kind, folder):
    path = str(folder / "best.keras")
    callback = keras.callbacks.ModelCheckpoint(path, save_best_only=True, monitor="loss", mode="min")
    callback.set_model(model)
    callback.on_epoch_end(0, {"loss": 1.0})
    return keras.models.load_model(path)


def through_state_tree(model, kind, folder):
    """What `keras.callbacks.OrbaxCheckpoint` writes. tf_keras has none."""
    if LEGACY:
        return model
    other = trained(kind, 1)
    other.set_state_tree(model.get_state_tree(value_format="numpy_array"))
    return other


WAYS = {
    ".keras": through_keras,
    ".weights.h5": through_weights,
    "checkpoint": through_checkpoint,
    "ModelCheckpoint": through_model_checkpoint,
    "state tree": through_state_tree,
    "pickle": lambda model, kind, folder: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, kind, folder: copy.deepcopy(model),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_weights_and_slots_come_back(kind, tmp_path):
    model = trained(kind, 2)
    wanted = numbers(model)
    for way, through in WAYS.items():
        print(way)  # shown where the next line fails
        assert_same(numbers(through(model, kind, tmp_path)), wanted)


def test_a_backup_gives_back_weights_and_slots(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    class Found(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.numbers = numbers(self.model)

    model, schema = compiled("lazy")
    with pytest.raises(KeyboardInterrupt):
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        model.fit(ROWS, labels(schema), epochs=2, verbose=0, callbacks=[backup, Stop()])
    other, found = trained("lazy", 1), Found()
    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
    other.fit(ROWS, labels(schema), epochs=1, verbose=0, callbacks=[backup, found])
    assert_same(found.numbers, numbers(model))


def own_model():
    """A model that somebody else composed of our layers."""
    x = keras.Input((6,))
    mixed = CGCLayer(4)(dict.fromkeys(("click", "buy", "shared"), x))
    outputs = {task: TaskTower((4,), batch_norm=True, name=task)(mixed[task]) for task in ("click", "buy")}
    model = keras.Model(x, outputs)
    model.compile(LazyAdam(0.1), dict.fromkeys(outputs, "binary_crossentropy"), run_eagerly=True)
    rows = np.linspace(0, 1, 48, dtype="float32").reshape(8, 6)
    model.fit(rows, dict.fromkeys(outputs, np.ones(8, "float32")), verbose=0)
    return model


def test_layers_in_a_model_of_ones_own(tmp_path):
    model, other = own_model(), own_model()
    wanted = numbers(model)
    model.save_weights(tmp_path / "own.weights.h5")
    path = tf.train.Checkpoint(model=model).save(tmp_path / "own")
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    assert_same(numbers(other), wanted)
    model.save(tmp_path / "own.keras")
    assert_same(numbers(keras.models.load_model(tmp_path / "own.keras")), wanted)


def test_a_layer_that_is_built_after_the_checkpoint_is_read(tmp_path):
    shapes = dict.fromkeys(("click", "buy", "shared"), (None, 6))
    layer, other = CGCLayer((4, 4)), CGCLayer((4, 4))
    layer.build(shapes)
    path = tf.train.Checkpoint(layer=layer).save(tmp_path / "layer")
    status = tf.train.Checkpoint(layer=other).restore(path)
    other.build(shapes)
    status.assert_consumed()
    assert_same(other.get_weights(), layer.get_weights())


def test_a_stage_of_ones_own_is_held_too(tmp_path):
    class Listed(keras.layers.Layer):
        def build(self, shape):
            self.parts = {"deep": [keras.layers.Dense(2)]}
            self.parts["deep"][0].build(shape)

        def call(self, x):
            return self.parts["deep"][0](x)

    x = keras.Input((3,))
    model = NamedModel([x], {"click": Listed()(x)})
    wanted = model.get_weights()
    path = tf.train.Checkpoint(model=model).save(tmp_path / "own")
    model.set_weights([np.zeros_like(w) for w in wanted])
    tf.train.Checkpoint(model=model).restore(path).assert_existing_objects_matched()
    assert_same(model.get_weights(), wanted)


def test_a_balancers_state_is_in_a_checkpoint(tmp_path):
    def made():
        plain, schema = small("shared_bottom")
        model = balanced(plain, FAMO())
        model.compile(LazyAdam(0.1), **tfmtl.objectives(schema.tasks))
        model.fit(ROWS, labels(schema), verbose=0)
        return model, schema

    (model, schema), (other, _) = made(), made()
    model.fit(ROWS, labels(schema), verbose=0)
    wanted = [*numbers(model), *(v.numpy() for v in model.balancing.held.values())]
    path = tf.train.Checkpoint(model=model).save(tmp_path / "balanced")
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    assert_same([*numbers(other), *(v.numpy() for v in other.balancing.held.values())], wanted)


@pytest.mark.parametrize("ending", [".h5", ".hdf5"])
def test_refuses_the_format_that_would_lose_something(ending, tmp_path):
    model, _ = small("single_task")
    for save in (model.save, model.save_weights):
        with pytest.raises(ValueError, match=r"save it as `\.keras`.*Received: filepath="):
            save(tmp_path / f"model{ending}")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not LEGACY, reason="Keras 3 saves no folders")
def test_says_that_a_folder_of_tf_keras_lacks_the_slots(tmp_path):
    model = trained("lazy", 1)
    with pytest.warns(UserWarning, match="does not bring back what the optimizer remembers"):
        model.save(tmp_path / "folder")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.save(tmp_path / "plain", include_optimizer=False)
    assert_same(keras.models.load_model(tmp_path / "plain").get_weights(), model.get_weights())

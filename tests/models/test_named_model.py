"""What is positional beside named heads is refused: Keras would deal it out in the order of the alphabet."""

import copy
import pickle

import numpy as np
import pytest
import tensorflow as tf
from harness import run_fresh

import tfmtl
from tfmtl import Categorical, Numeric, Schema, Task
from tfmtl.keras_host import LEGACY, keras
from tfmtl.named_model import NamedModel

SCHEMA = Schema([Numeric("b", transform=None), Categorical("a", num_ids=5)], [Task("view"), Task("buy")])
X = {"b": np.arange(64, dtype="float32") / 64, "a": np.arange(64, dtype="int32") % 5}
ONES, ZEROS = np.ones(64, "float32"), np.zeros(64, "float32")
Y = {"view": ONES, "buy": ZEROS}


def compiled(**options):
    model = tfmtl.models.shared_bottom(SCHEMA, units=(4,))
    model.compile(tfmtl.LazyAdam(0.1), **{**tfmtl.objectives(SCHEMA.tasks), **options})
    return model


def forms(model, folder):
    """The same model by every way that Keras has of making it again."""
    yield model
    model.save(folder / "model.keras")
    yield keras.models.load_model(folder / "model.keras")
    yield copy.deepcopy(model)
    yield pickle.loads(pickle.dumps(model))
    clone = keras.models.clone_model(model)
    clone.compile("sgd", **tfmtl.objectives(SCHEMA.tasks))
    yield clone


def test_labels_by_position_are_refused_and_by_name_still_taken(tmp_path):
    for model in forms(compiled(), tmp_path):
        assert isinstance(model, NamedModel)
        for ways in (model.fit, model.evaluate):
            with pytest.raises(
                ValueError, match=r"labels must be a dict by task, of \['view', 'buy'\].*Received: 2 in"
            ):
                ways(X, [ONES, ZEROS], verbose=0)
        model.fit(X, Y, epochs=10, verbose=0)  # what was refused leaves nothing behind
    said = {task: p.mean() for task, p in model.predict(X, verbose=0).items()}
    assert set(said) == {"view", "buy"}


def test_datasets_are_no_other_way():
    data = tf.data.Dataset.from_tensor_slices((X, (ONES, ZEROS))).batch(16)
    with pytest.raises(ValueError, match="labels must be a dict by task"):
        compiled().fit(data, verbose=0)


def test_one_column_is_not_taken_for_all_tasks():
    with pytest.raises(ValueError, match="labels must be a dict by task"):
        compiled().fit(X, ONES, verbose=0)


def test_weights_go_by_name_or_one_for_all():
    model = compiled()
    with pytest.raises(ValueError):  # of Keras 3 itself, or of ours on tf_keras
        model.fit(X, Y, sample_weight=[ONES, ZEROS], verbose=0)
    data = tf.data.Dataset.from_tensor_slices((X, Y, (ONES, ZEROS))).batch(16)
    with pytest.raises(ValueError, match="sample weights must be a dict by task"):
        model.fit(data, verbose=0)
    for weights in (ONES, {"view": ONES, "buy": ZEROS}):
        assert np.isfinite(model.fit(X, Y, sample_weight=weights, verbose=0).history["loss"])


def test_losses_go_by_name():
    with pytest.raises(ValueError, match="`loss` of `compile` must be a dict by task"):
        compiled(loss=["mse", "mae"], loss_weights=None).fit(X, Y, verbose=0)


def test_inputs_by_position_are_the_schemas():
    model = compiled()
    by_name, by_position = model.predict(X, verbose=0), model.predict([X["b"], X["a"]], verbose=0)
    for task in by_name:
        np.testing.assert_array_equal(by_position[task], by_name[task])


def test_a_single_task_needs_no_name():
    schema = Schema(SCHEMA.features, [Task("view")])
    model = tfmtl.models.shared_bottom(schema, units=(4,))
    model.compile("sgd", **tfmtl.objectives(schema.tasks))
    assert np.isfinite(model.fit(X, ONES, verbose=0).history["loss"])


@pytest.mark.keras3
def test_what_layers_add_counts_once_under_replicas():
    """Replicas run the same layers in turn and wait for each other in our losses: none may read what another one added."""
    run_fresh(
        """
        import numpy as np
        import tensorflow as tf
        from tfmtl.keras_host import keras
        from tfmtl.named_model import NamedModel
        from tfmtl.losses import MaskedMeanSquaredError
        from replicas import assert_replicas_agree, split_cpu
        from training.models import AddedLoss

        split_cpu()
        x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
        data = tf.data.Dataset.from_tensor_slices((x, {"a": x[:, 0], "b": x[:, 1]})).batch(8)

        def weights(strategy):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                inputs = keras.Input((3,))
                hidden = AddedLoss(4.0)(keras.layers.Dense(4)(inputs))
                model = NamedModel(inputs, {"a": keras.layers.Dense(1)(hidden), "b": keras.layers.Dense(1)(hidden)})
                model.compile(keras.optimizers.SGD(0.1), {task: MaskedMeanSquaredError() for task in ("a", "b")})
            model.fit(data, epochs=3, verbose=0)
            return model.get_weights()

        assert_replicas_agree(weights, rtol=1e-7, atol=1e-6)
        """
    )


@pytest.mark.parametrize("data", ["arrays", "dataset"])
def test_the_first_step_is_traced_once(data, monkeypatch):
    """TensorFlow traces a step again where variables were made in it, for slots or for what logs the losses."""
    traced, step = [], NamedModel.train_step
    monkeypatch.setattr(NamedModel, "train_step", lambda self, batch: traced.append(1) or step(self, batch))
    given = (X, Y) if data == "arrays" else (tf.data.Dataset.from_tensor_slices((X, Y)).batch(32),)
    logs = compiled().fit(*given, verbose=0).history
    assert len(traced) == 1 and {"view_loss", "buy_loss"} <= set(logs)


def test_data_without_a_batch_train_nothing_and_say_so():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(100, drop_remainder=True)
    with pytest.raises(ValueError, match="Nothing was trained: the data held no batch" if not LEGACY else "mpty"):
        compiled().fit(data, verbose=0)

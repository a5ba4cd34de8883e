"""Our layers in plain Keras recommenders that tfmtl did not build."""

import numpy as np
from harness import assert_all_trained, assert_reloads, fit_callbackless, keras

import tfmtl

TASKS = ("click", "buy")
USERS, ITEMS = 30, 20


def rows(num=2048):
    """Clicks go by the user, purchases by the item; a purchase is known where there was a click."""
    rng = np.random.default_rng(0)
    x = {"user": rng.integers(0, USERS, num).astype("int32"), "item": rng.integers(0, ITEMS, num).astype("int32")}
    click = (x["user"] % 2).astype("float32")
    return x, {"click": click, "buy": np.where(click == 1, x["item"] % 3 == 0, np.nan).astype("float32")}


def existing_model():
    """What a user has: embeddings, one hidden layer for all tasks, an output each."""
    inputs = {name: keras.Input((), dtype="int32", name=name) for name in ("user", "item")}
    user = keras.layers.Embedding(USERS, 8, name="user_table")(inputs["user"])
    item = keras.layers.Embedding(ITEMS, 8, name="item_table")(inputs["item"])
    joined = keras.layers.Concatenate(name="joined")([user, item])
    hidden = keras.layers.Dense(16, "relu", name="hidden")(joined)
    return keras.Model(inputs, {task: keras.layers.Dense(1, "sigmoid", name=task)(hidden) for task in TASKS})


def with_experts(model):
    """`model` from its embeddings on, with experts and gates where its hidden layer was."""
    joined = model.get_layer("joined").output
    streams = dict.fromkeys((*TASKS, "shared"), joined)
    mixed = tfmtl.CGCLayer(16, num_task_experts=1, num_shared_experts=2, update_shared=False, name="mix")(streams)
    outputs = {task: keras.layers.Dense(1, "sigmoid", name=task)(mixed[task]) for task in TASKS}
    return keras.Model(model.input, outputs)


def test_goes_behind_the_embeddings_of_a_functional_model(tmp_path):
    keras.utils.set_random_seed(0)
    x, y = rows()
    before = existing_model()
    model = with_experts(before)
    assert model.get_layer("user_table") is before.get_layer("user_table")  # with all that it has learned
    # The user's two tables; experts (kernel and bias) of three streams; two gates; two outputs.
    assert len(model.trainable_variables) == 2 + 3 * 2 + 2 + 2 * 2

    model.compile(keras.optimizers.Adam(0.02), **tfmtl.objectives([tfmtl.Task(task) for task in TASKS]))
    history = fit_callbackless(model, x, y, batch_size=128, epochs=8)
    assert np.isfinite(history["loss"]).all()
    assert history["click_auc"][-1] > 0.99 and history["buy_auc"][-1] > 0.99, history
    assert_reloads(model, {name: column[:16] for name, column in x.items()}, tmp_path)


def test_a_missing_label_does_not_touch_a_model_of_others():
    """A step on rows without a `buy` label moves no weight that only `buy` trains."""
    keras.utils.set_random_seed(0)
    x, y = rows(64)
    y["buy"][:] = np.nan
    model = with_experts(existing_model())
    model.compile(keras.optimizers.SGD(0.5), **tfmtl.objectives([tfmtl.Task(task) for task in TASKS]))
    own = [model.get_layer("buy"), model.get_layer("mix").experts["buy"]]
    before = [np.array(weights) for layer in own for weights in layer.get_weights()]
    clicks = np.array(model.get_layer("click").get_weights()[0])
    fit_callbackless(model, x, y, batch_size=64, epochs=1)
    for old, new in zip(before, (w for layer in own for w in layer.get_weights()), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.abs(model.get_layer("click").get_weights()[0] - clicks).max() > 0


class Subclassed(keras.Model):
    """The other way to write a Keras model."""

    def __init__(self):
        super().__init__()
        self.embed = {
            "user": keras.layers.Embedding(USERS, 8, name="user_table"),
            "item": keras.layers.Embedding(ITEMS, 8, name="item_table"),
        }
        self.mix = tfmtl.PLE((16, 8), num_task_experts=1, num_shared_experts=1)
        self.towers = {task: tfmtl.layers.TaskTower((4,), name=task) for task in TASKS}

    def call(self, inputs, training=None):
        joined = keras.layers.concatenate([self.embed[name](inputs[name]) for name in ("user", "item")])
        mixed = self.mix(dict.fromkeys((*TASKS, "shared"), joined), training=training)
        return {task: self.towers[task](mixed[task]) for task in TASKS}


def test_goes_into_a_subclassed_model_with_plain_losses_and_metrics():
    keras.utils.set_random_seed(0)
    x, y = rows()
    y["buy"] = np.nan_to_num(y["buy"])
    model = Subclassed()
    model.compile(
        keras.optimizers.Adam(0.02),
        loss=dict.fromkeys(TASKS, "binary_crossentropy"),
        metrics={task: [keras.metrics.BinaryAccuracy(name="accuracy")] for task in TASKS},
    )
    history = fit_callbackless(model, x, y, batch_size=128, epochs=8)
    assert history["click_accuracy"][-1] > 0.98 and history["buy_accuracy"][-1] > 0.98, history
    assert_all_trained(
        model,
        lambda: sum(keras.losses.BinaryCrossentropy()(y[task][:, None], output) for task, output in model(x).items()),
    )

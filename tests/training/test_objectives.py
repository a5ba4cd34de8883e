"""objectives() through `compile` and `fit`: every name routed, weights that decay, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf
from harness import fit_callbackless, run_fresh
from sklearn.metrics import log_loss, roc_auc_score
from training.models import TASKS, batches, rows, small_model

from tfmtl.keras_host import keras
from tfmtl.losses import MaskedMeanSquaredError
from tfmtl.metrics import MaskedAUC
from tfmtl.schema import Task
from tfmtl.training import masked, objectives

NAMES = {
    "loss",
    *(f"{task.name}_loss" for task in TASKS),
    *(f"{task}_{figure}" for task in ("click", "sale") for figure in ("auc", "calibration")),
    "price_rmse",
}


@pytest.fixture
def data():
    return batches(*rows(210), size=32)


@pytest.fixture
def whole():
    return batches(*rows(210), size=210)


def test_logs_every_task_under_its_name(data):
    _, y = rows(210)
    model = small_model()
    asked = {task: ["auc", "logloss", "calibration"] for task in ("click", "sale")}
    model.compile(keras.optimizers.Adam(0.01), **objectives(TASKS, metrics=asked))
    history = fit_callbackless(model, data, epochs=2, validation_data=data)
    assert {f"val_{name}" for name in NAMES} <= set(history)
    predictions = {task: p[:, 0].astype("float64") for task, p in model.predict(data, verbose=0).items()}
    for task in ("click", "sale"):
        valid = ~np.isnan(y[task])
        labels, scores = y[task][valid], predictions[task][valid]
        assert history[f"val_{task}_auc"][-1] == pytest.approx(roc_auc_score(labels, scores), abs=1e-3)
        assert history[f"val_{task}_logloss"][-1] == pytest.approx(log_loss(labels, scores), rel=1e-5)
        assert history[f"val_{task}_calibration"][-1] == pytest.approx(scores.mean() / labels.mean(), rel=1e-5)
    errors = (y["price"] - predictions["price"])[~np.isnan(y["price"])]
    assert history["val_price_rmse"][-1] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-5)


def test_shows_no_number_twice(whole):
    """The log loss is what Keras logs as a task's loss, but where the task has another loss."""
    model = small_model()
    model.compile("sgd", **objectives(TASKS))
    assert set(model.evaluate(whole, verbose=0, return_dict=True)) == NAMES
    model.compile("sgd", **objectives(TASKS, losses={"click": "binary_focal_crossentropy"}))
    assert set(model.evaluate(whole, verbose=0, return_dict=True)) == NAMES | {"click_logloss"}


def test_adds_up_the_weighted_losses(whole):
    model = small_model()
    model.compile("sgd", **objectives(TASKS))
    logs = model.evaluate(whole, verbose=0, return_dict=True)
    expected = sum(task.weight * logs[f"{task.name}_loss"] for task in TASKS)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_one_task_keeps_its_name(data):
    task = Task("click")
    model = small_model((task,))
    model.compile("sgd", **objectives([task]))
    logs = fit_callbackless(model, data.map(lambda x, y: (x, {"click": y["click"]})))
    assert set(logs) == {"loss", "click_auc", "click_logloss", "click_calibration"}


def test_a_task_without_labels_does_not_move(data):
    """Its own weights stay, and the others train as if it were not there."""
    nothing = data.map(lambda x, y: (x, {**y, "sale": y["sale"] * float("nan")}))
    model = small_model()
    model.compile(keras.optimizers.SGD(0.1), **objectives(TASKS))
    before = [np.array(w) for w in model.get_layer("sale").get_weights()]
    history = fit_callbackless(model, nothing)
    for old, new in zip(before, model.get_layer("sale").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert history["sale_loss"] == [0]
    assert np.isnan(history["sale_auc"]).all()
    assert np.isfinite(history["loss"]).all()


def test_metrics_are_new_at_each_call():
    once = objectives(TASKS)
    first, again, other = (look["metrics"] for look in (once, once, objectives(TASKS)))  # held, so that ids are theirs
    made = [metric for look in (first, again, other) for metrics in look.values() for metric in metrics]
    assert len(set(map(id, made))) == len(made) == 3 * sum(map(len, first.values())) > 0


DECAYING = (
    Task("sale", weight=2.0, weight_decay=0.5),
    Task("click"),
    Task("price", "regression", weight=0.1, weight_decay=0.9),
)


def compiled(decay_steps):
    keras.utils.set_random_seed(7)
    model, optimizer = small_model(DECAYING), keras.optimizers.SGD(0.05)
    model.compile(optimizer, **losses_alone(DECAYING, optimizer=optimizer, decay_steps=decay_steps))
    return model


def losses_alone(tasks, **options):
    """Without metrics, which take time to trace."""
    return objectives(tasks, metrics={task.name: [] for task in tasks}, **options)


def weighted(logs, t):
    return sum(task.weight * task.weight_decay**t * logs[f"{task.name}_loss"] for task in DECAYING)


@pytest.mark.parametrize(("decay_steps", "periods"), [(7, [1, 2, 3]), (1, [7, 14, 21]), (10, [0, 1, 2])])
def test_weights_follow_the_schedule(data, whole, decay_steps, periods):
    """After each epoch of 7 steps; a decay period may be an epoch, a step, or anything else."""
    model = compiled(decay_steps)
    for t in periods:
        fit_callbackless(model, data)
        logs = model.evaluate(whole, verbose=0, return_dict=True)
        assert logs["loss"] == pytest.approx(weighted(logs, t), rel=1e-5)


def test_gradients_follow_the_schedule(data):
    """Training with a schedule equals training that is compiled again with the next weights at every epoch."""
    scheduled, by_hand = compiled(decay_steps=7), compiled(decay_steps=7)
    fit_callbackless(scheduled, data, epochs=2)
    for t in range(2):
        fixed = [Task(k.name, k.kind, weight=k.weight * k.weight_decay**t) for k in DECAYING]
        by_hand.compile(by_hand.optimizer, **losses_alone(fixed))
        fit_callbackless(by_hand, data)
    for ours, theirs in zip(scheduled.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_fit_resumes_where_it_stopped(data, tmp_path):
    straight, halted = compiled(decay_steps=7), compiled(decay_steps=7)
    fit_callbackless(straight, data, epochs=2)
    fit_callbackless(halted, data)
    halted.save(tmp_path / "model.keras")

    resumed = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(resumed.predict(data, verbose=0)["sale"], halted.predict(data, verbose=0)["sale"])
    with pytest.raises(ValueError, match="Compile it again"):  # a file cannot tell which optimizer will train
        resumed.fit(data, verbose=0)
    optimizer = resumed.optimizer
    resumed.compile(optimizer, **losses_alone(DECAYING, optimizer=optimizer, decay_steps=7))
    fit_callbackless(resumed, data, epochs=2, initial_epoch=1)
    for a, b in zip(resumed.get_weights(), straight.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_loaded_model_without_schedule_goes_on(data, tmp_path):
    model = small_model()
    model.compile(keras.optimizers.SGD(0.05), **objectives(TASKS))
    fit_callbackless(model, data)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    ours, theirs = (m.evaluate(data, verbose=0, return_dict=True) for m in (model, loaded))
    assert set(theirs) == NAMES
    assert theirs == pytest.approx(ours, rel=1e-6)


def test_decays_under_a_loss_scale(data, whole):
    """mixed_float16 makes Keras wrap the optimizer: the clock is still the one that was given."""
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = compiled(decay_steps=7)
        losses = fit_callbackless(model, data)["loss"]
        logs = model.evaluate(whole, verbose=0, return_dict=True)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(losses).all()
    assert logs["loss"] == pytest.approx(weighted(logs, 1), rel=1e-4)


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        ([], {}, r"at least one\. Received: tasks=\(\)"),
        (["click"], {}, r"must be `Task`s.*'click'"),
        ([Task("click"), Task("click")], {}, "click"),
        ([Task("click", weight_decay=0.5)], {}, r"'click' has weight_decay=0.5.*optimizer=None, decay_steps=None"),
        ([Task("click", weight_decay=0.5)], {"optimizer": "adam", "decay_steps": 5}, "optimizer='adam'"),
        ([Task("click", weight_decay=0.5)], {"optimizer": keras.optimizers.SGD(), "decay_steps": 0}, "decay_steps=0"),
        (
            [Task("click", weight_decay=0.5)],
            {"optimizer": keras.optimizers.SGD(), "decay_steps": 5.0},
            r"`decay_steps` must be an integer >= 1\. Received: decay_steps=5\.0",
        ),
    ],
)
def test_refuses(tasks, options, message):
    with pytest.raises(ValueError, match=message):
        objectives(tasks, **options)


def test_takes_numpy_counts():
    optimizer = keras.optimizers.SGD()
    weights = objectives([Task("click", weight_decay=0.5)], optimizer=optimizer, decay_steps=np.int64(4))[
        "loss_weights"
    ]
    assert type(weights["click"].get_config()["decay_steps"]) is int


@pytest.mark.keras3
@pytest.mark.parametrize(("figure", "rises"), [("auc", True), ("logloss", False)])
def test_early_stopping_knows_the_better_figure(data, figure, rises):
    """Of a model of one task: Keras looks for the metric by its name, which has no task's before it otherwise."""
    task = Task("click")
    model = small_model((task,))
    model.compile("sgd", **objectives([task]))
    stop = keras.callbacks.EarlyStopping(f"val_click_{figure}", patience=5)
    one = data.map(lambda x, y: (x, {"click": y["click"]}))
    model.fit(one, validation_data=one, verbose=0, callbacks=[stop])
    assert bool(stop.monitor_op(1.0, 0.0)) is rises


def test_losses_and_metrics_of_keras_by_task(data):
    """Masked as ours: the logs of a batch that holds everything are those of Keras over the rows with a label."""
    x, y = rows(210)
    losses = {"sale": keras.losses.BinaryFocalCrossentropy(), "price": "mae"}
    metrics = {"sale": ["auc", keras.metrics.AUC(2000, name="keras_auc"), "accuracy"], "click": [], "price": ["mse"]}
    model = small_model()
    model.compile("sgd", **objectives(TASKS, losses=losses, metrics=metrics))
    logs = model.evaluate(batches(x, y, 210), verbose=0, return_dict=True)
    assert set(logs) == {
        "loss",
        *(f"{task.name}_loss" for task in TASKS),
        *(f"sale_{name}" for name in ("auc", "keras_auc", "accuracy")),
        "price_mse" if "price_mse" in logs else "price_mean_squared_error",
    }
    scores = {task: np.asarray(p)[:, 0] for task, p in model(x).items()}
    valid = ~np.isnan(y["sale"])
    labels, answers = y["sale"][valid], scores["sale"][valid]
    focal = keras.losses.BinaryFocalCrossentropy()(labels[:, None], answers[:, None])
    assert logs["sale_loss"] == pytest.approx(float(focal), rel=1e-5)
    assert logs["sale_keras_auc"] == pytest.approx(roc_auc_score(labels, answers), abs=2e-3)
    assert logs["sale_accuracy"] == pytest.approx(np.mean((answers > 0.5) == labels), rel=1e-5)
    assert logs["price_loss"] == pytest.approx(np.nanmean(np.abs(y["price"] - scores["price"])), rel=1e-5)
    assert np.isfinite(fit_callbackless(model, data)["loss"]).all()


def test_masked_goes_into_compile_by_itself(data):
    model = small_model()
    losses = {task.name: masked(keras.losses.MeanSquaredError(), name=task.name) for task in TASKS}
    model.compile("sgd", losses, metrics={"sale": [masked(keras.metrics.AUC(name="auc"), kind="binary")]})
    history = fit_callbackless(model, data)
    assert np.isfinite(history["loss"]).all() and 0 < history["sale_auc"][0] < 1


def test_masked_leaves_ours_as_they_are_and_refuses_the_rest():
    for ours in (MaskedMeanSquaredError(), MaskedAUC()):
        assert masked(ours) is ours
    with pytest.raises(ValueError, match=r"must be a loss or a metric object.*Received: of='mse'"):
        masked("mse")


def test_one_result_serves_several_models(data):
    """Each gets metrics of its own, those that were given too, under the same names."""
    chosen = objectives(TASKS, metrics={"sale": [MaskedAUC(), keras.metrics.AUC(name="other")]})
    models = [small_model(), small_model()]
    for model in models:
        model.compile("sgd", **chosen)
    histories = [fit_callbackless(model, data) for model in models]
    assert set(histories[0]) == set(histories[1])
    states = [{id(variable) for metric in model.metrics for variable in metric.variables} for model in models]
    assert states[0] and not states[0] & states[1]


def test_what_objectives_gives_can_be_changed():
    chosen = objectives(TASKS)
    assert set(chosen) == set({**chosen}) == {"loss", "loss_weights", "metrics"}
    del chosen["metrics"]
    assert set(chosen) == {"loss", "loss_weights"}
    chosen["metrics"] = {"sale": ["mse"]}
    assert chosen["metrics"] is chosen["metrics"]


def test_files_hold_masked_losses_and_metrics(data, tmp_path):
    model = small_model()
    losses = {"sale": keras.losses.BinaryFocalCrossentropy(gamma=3.0), "price": "mae"}
    chosen = objectives(TASKS, losses=losses, metrics={"price": [keras.metrics.MeanAbsoluteError()]})
    model.compile(keras.optimizers.SGD(0.05), **chosen)
    fit_callbackless(model, data)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    ours, theirs = (m.evaluate(data, verbose=0, return_dict=True) for m in (model, loaded))
    assert theirs == pytest.approx(ours, rel=1e-6)


@pytest.mark.parametrize("where", ["fit", "evaluate", "train_on_batch"])
@pytest.mark.parametrize(
    ("task", "label", "message"),
    [
        ("sale", -1.0, r"labels of `sale` must be 0, 1 or NaN .missing.\. Received:\]? \[?-1"),
        ("click", 4.0, r"labels of `click` must be 0, 1 or NaN .missing.\. Received:\]? \[?4"),
        ("price", 1e30, r"labels of `price` must be NaN .missing. or finite.*Received:\]? \[?1e\+30"),
    ],
)
def test_labels_that_a_task_cannot_have_end_training(where, task, label, message):
    x, y = rows(64)
    y[task][7] = label
    model = small_model()
    model.compile("sgd", **losses_alone(TASKS))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        getattr(model, where)(x, y, **({} if where == "train_on_batch" else {"verbose": 0}))


def test_eager_steps_refuse_with_a_plain_error():
    x, y = rows(64)
    y["sale"][7] = -1
    model = small_model()
    model.compile("sgd", **objectives(TASKS), run_eagerly=True)
    with pytest.raises(ValueError, match=r"The labels of `sale` must be 0, 1 or NaN .missing.. Received: -1"):
        model.fit(x, y, verbose=0)


@pytest.mark.keras3
@pytest.mark.parametrize("legacy", ["0", "1"])
def test_labels_are_refused_under_a_strategy(legacy):
    """On whichever replica they lie."""
    run_fresh(
        """
        import pytest
        import tensorflow as tf
        from training.models import TASKS, batches, rows, small_model
        from tfmtl.training import objectives

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            model = small_model()
            model.compile("sgd", **objectives(TASKS, metrics={task.name: [] for task in TASKS}))
        x, y = rows(32)
        model.fit(batches(x, y, 16), verbose=0)
        for row in (3, 29):
            wrong = {**y, "sale": y["sale"].copy()}
            wrong["sale"][row] = -1
            with pytest.raises(tf.errors.InvalidArgumentError, match="labels of `sale` must be 0, 1 or NaN"):
                model.fit(batches(x, wrong, 16), verbose=0)
        """,
        env={"TF_USE_LEGACY_KERAS": legacy},
    )


@pytest.mark.keras3
@pytest.mark.parametrize("legacy", ["0", "1"])
def test_mixed_precision_under_replicas(legacy):
    """Sums and results are not cast: what is logged is what one replica logs."""
    run_fresh(
        """
        import numpy as np
        import tensorflow as tf
        from training.models import TASKS, batches, rows, small_model
        from tfmtl.keras_host import keras
        from tfmtl.training import objectives

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        keras.mixed_precision.set_global_policy("mixed_bfloat16")

        def logs(strategy):
            keras.utils.set_random_seed(7)
            with strategy.scope():
                model = small_model()
                model.compile("sgd", **objectives(TASKS, metrics={"click": ["auc", keras.metrics.AUC(name="other")]}))
            history = model.fit(batches(*rows(64), 32), verbose=0).history
            return {**history, **model.evaluate(batches(*rows(64), 32), verbose=0, return_dict=True)}

        one = logs(tf.distribute.get_strategy())
        two = logs(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
        for name in one:
            np.testing.assert_allclose(two[name], one[name], rtol=0.02, atol=0.02, err_msg=name)
        """,
        env={"TF_USE_LEGACY_KERAS": legacy},
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"losses": {"sell": "mse"}}, r"`losses` must be a dict by task, of \['sale', 'click', 'price'\]"),
        ({"losses": ["mse"]}, "`losses` must be a dict by task"),
        ({"metrics": {"sell": []}}, "`metrics` must be a dict by task"),
        ({"metrics": {"sale": "auc"}}, "`metrics` of task 'sale' must be a list. Received: 'auc'"),
        (
            {"metrics": {"sale": ["auc", keras.metrics.AUC(name="auc")]}},
            "Two metrics have the same name. Received: name='auc' twice",
        ),
        ({"losses": {"sale": "cosine_similarity"}}, "must depend on a prediction of one column"),
        ({"metrics": {"sale": [keras.metrics.Mean()]}}, "`metric` must have"),
    ],
)
def test_refuses_losses_and_metrics(options, message):
    with pytest.raises(ValueError, match=message):
        objectives(TASKS, **options)

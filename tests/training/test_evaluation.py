"""evaluate() and the Validation callback against scikit-learn, row by row, user by user and slice by slice."""

import copy
import gc
import tracemalloc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from harness import fit_callbackless
from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error
from training.models import SCHEMA, TASKS, batches, rows, small_model

from tfmtl.keras_host import keras
from tfmtl.schema import Task
from tfmtl.training import Evaluation, Validation, evaluate, objectives
from tfmtl.training.evaluation import task_figures
from tfmtl.training.figures import WATCHED

X, Y = rows(300)
USERS = np.array([f"u{i % 23}" if i % 7 else "" for i in range(300)])


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(7)
    return small_model()


@pytest.fixture(scope="module")
def predictions(model):
    return {task: np.asarray(p)[:, 0].astype("float64") for task, p in model(X).items()}


def sklearn_gauc(labels, scores, users):
    areas, sizes, rows_in_groups = [], [], 0
    groups = [user for user in np.unique(users) if user not in ("", -1)]
    for user in groups:
        of_user = users == user
        if len(set(labels[of_user])) == 2:
            areas.append(roc_auc_score(labels[of_user], scores[of_user]))
            sizes.append(of_user.sum())
            rows_in_groups += of_user.sum()
    return np.average(areas, weights=sizes), len(sizes) / len(groups), rows_in_groups / len(labels)


def expected_figures(predictions, keep, users=None):
    figures = {}
    for task in TASKS:
        valid = keep & ~np.isnan(Y[task.name])
        labels, scores = Y[task.name][valid], predictions[task.name][valid]
        found = {"rows": len(labels)}
        if task.kind == "regression":
            rmse = root_mean_squared_error(labels, scores)
            found |= {"rmse": rmse, "mse": rmse**2}
        else:
            found |= {
                "positives": labels.sum(),
                "auc": roc_auc_score(labels, scores),
                "logloss": log_loss(labels, scores),
            }
            found["calibration"] = scores.mean() / labels.mean()
            if users is not None:
                gauc = sklearn_gauc(labels, scores, users[valid])
                found |= dict(zip(("gauc", "gauc_group_coverage", "gauc_row_coverage"), gauc, strict=True))
        figures |= {f"{task.name}_{name}": value for name, value in found.items()}
    return figures


def test_equals_sklearn(model, predictions):
    figures = evaluate(model, batches(X, Y, 64), SCHEMA)
    assert figures == pytest.approx(expected_figures(predictions, np.ones(300, bool)), rel=1e-5)
    assert all(type(value) in (int, float) for value in figures.values())


@pytest.mark.parametrize("dtype", ["string", "int64"])
def test_compares_rows_within_groups(model, predictions, dtype):
    """The group column is not one of the model's; rows without a user count in no group."""
    users = USERS if dtype == "string" else np.array([int(user[1:] or -1) if user else -1 for user in USERS])
    figures = evaluate(model, batches({**X, "user_id": users}, Y, 64), SCHEMA, group="user_id")
    assert figures == pytest.approx(expected_figures(predictions, np.ones(300, bool), users), rel=1e-5)
    assert figures["click_gauc_row_coverage"] < 1


def test_row_0_of_an_encoded_feature_is_no_group(model, predictions):
    figures = evaluate(model, batches(X, Y, 64), SCHEMA, group="user")
    users = np.where(X["user"] == 0, -1, X["user"])
    assert figures == pytest.approx(expected_figures(predictions, np.ones(300, bool), users), rel=1e-5)


def test_reports_slices(model, predictions):
    device = np.array(["web", "app", "web", "café"])[np.arange(300) % 4]
    slices = {"device": "device", "positive": lambda x: x["a"] > 0}
    data = batches({**X, "device": device, "user_id": USERS}, Y, 64)
    figures = evaluate(model, data, SCHEMA, group="user_id", slices=slices)
    parts = {"": np.ones(300, bool), "positive=True/": X["a"] > 0, "positive=False/": X["a"] <= 0}
    parts |= {f"device={value}/": device == value for value in ("web", "app", "café")}
    expected = {}
    for prefix, keep in parts.items():
        found = expected_figures(predictions, keep, USERS)
        expected |= {f"{prefix}{name}": value for name, value in found.items()}
    assert figures == pytest.approx(expected, rel=1e-5)


def test_takes_the_group_before_preprocessing(model, predictions):
    """Raw columns that the preprocessor drops are still there for groups and slices."""
    raw = {"a_raw": X["a"] / 2, "b": X["b"], "user": X["user"].astype(str), "user_id": USERS}

    def preprocessor(x):
        assert set(x) == set(raw)
        return {"a": x["a_raw"] * 2, "b": x["b"], "user": tf.strings.to_number(x["user"], tf.int32)}

    figures = evaluate(
        model,
        batches(raw, Y, 64),
        SCHEMA,
        preprocessor=preprocessor,
        group="user_id",
        slices={"low": lambda x: x["a_raw"] < 0},
    )
    whole = expected_figures(predictions, np.ones(300, bool), USERS)
    assert {name: value for name, value in figures.items() if "/" not in name} == pytest.approx(whole, rel=1e-5)
    assert figures["low=True/click_rows"] == (X["a"] < 0).sum()


def test_reads_a_model_that_declares_no_inputs(model, predictions):
    class Wrapped(keras.Model):
        def call(self, x, training=False):
            assert set(x) == {"a", "b", "user"}
            return model(x)

    figures = evaluate(Wrapped(), batches({**X, "user_id": USERS}, Y, 64), SCHEMA, group="user_id")
    assert figures["click_auc"] == pytest.approx(
        expected_figures(predictions, np.ones(300, bool))["click_auc"], rel=1e-6
    )


def test_undefined_is_nan(model):
    nothing = {**Y, "sale": np.full(300, np.nan, "float32"), "click": np.ones(300, "float32")}
    figures = evaluate(model, batches({**X, "user_id": USERS}, nothing, 64), SCHEMA, group="user_id")
    assert figures["sale_rows"] == figures["sale_positives"] == 0
    assert np.isnan([figures[f"sale_{name}"] for name in ("auc", "logloss", "calibration", "gauc")]).all()
    assert np.isnan(figures["click_auc"]) and np.isnan(figures["click_gauc"])
    assert figures["click_gauc_group_coverage"] == figures["click_gauc_row_coverage"] == 0
    assert np.isfinite(figures["click_calibration"])


def test_one_row_a_batch(model, predictions):
    figures = evaluate(model, batches(X, Y, 299), SCHEMA)
    assert figures == pytest.approx(expected_figures(predictions, np.ones(300, bool)), rel=1e-5)


def test_takes_no_more_memory_than_it_says():
    count = 200_000
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, count).astype("float32"), rng.random(count, "float32")
    users = rng.integers(0, 1000, count).astype("int32")
    tracemalloc.start()
    try:
        task_figures(Task("click"), labels, scores, users)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / count < 100


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X, Y, {"group": "who"}, r"x lacks: \['who'\].*Received: \['a', 'b', 'user'\]"),
        (X, Y, {"slices": {"device": "device"}}, r"x lacks: \['device'\]"),
        (X, Y, {"slices": {"id": lambda x: tf.range(tf.shape(x["a"])[0] * 2)}}, "one value a row of slice 'id'"),
        (X, {"click": Y["click"]}, {}, r"No label of task 'sale'. Received: \['click'\]"),
        ({"a": X["a"]}, Y, {}, r"reads columns that x lacks: \['b', 'user'\]"),
        (
            {**X, "id": np.arange(300)},
            Y,
            {"slices": {"id": "id"}},
            "Slice 'id' must have at most 100 values. Received: 300",
        ),
    ],
)
def test_refuses(model, x, y, options, message, monkeypatch):
    monkeypatch.setattr("tfmtl.training.evaluation.MAX_SLICES", 100)
    with pytest.raises(ValueError, match=message):
        evaluate(model, batches(x, y, 64), SCHEMA, **options)


def test_refuses_arrays(model):
    with pytest.raises(ValueError, match=r"as a tf.data.Dataset does. Received: element_spec=tuple"):
        evaluate(model, (X, Y), SCHEMA)


def test_refuses_datasets_of_another_shape(model):
    data = batches(X, Y, 64)
    with pytest.raises(ValueError, match="must give"):
        evaluate(model, data.map(lambda x, y: (x, y, y, y)), SCHEMA)
    with pytest.raises(ValueError, match="gave no batch"):
        evaluate(model, data.take(0), SCHEMA)
    with pytest.raises(ValueError, match="No prediction of task 'late'"):
        evaluate(
            model,
            data.map(lambda x, y: (x, {**y, "late": y["sale"]})),
            type(SCHEMA)(SCHEMA.features, [*TASKS, Task("late")]),
        )


def test_validation_writes_what_later_callbacks_read(tmp_path):
    data = batches({**X, "user_id": USERS}, Y, 64)
    train = batches(X, Y, 64)
    model = small_model()
    model.compile(keras.optimizers.SGD(0.0), **objectives(TASKS))  # nothing improves: training must stop
    stop = keras.callbacks.EarlyStopping(monitor="val_click_gauc", mode="max", patience=1)
    log = tmp_path / "log.csv"
    callbacks = [Validation(data, SCHEMA, group="user_id"), stop, keras.callbacks.CSVLogger(str(log))]
    history = fit_callbackless(model, train, epochs=5, callbacks=callbacks)
    assert len(history["loss"]) == stop.stopped_epoch + 1 == 2
    figures = evaluate(model, data, SCHEMA, group="user_id")
    watched = {name: value for name, value in figures.items() if name.split("_", 1)[1] in WATCHED}
    shown = {name: values[-1] for name, values in history.items() if name.startswith("val_")}
    assert shown == pytest.approx({f"val_{name}": value for name, value in watched.items()}, rel=1e-6)
    assert len(shown) == 2 * 4 + 1 and set(shown) <= set(log.read_text().splitlines()[0].split(","))


def test_seven_models_are_evaluated_without_a_warning(caplog):
    """TensorFlow counts what is traced by where it is defined, and would say that one function is traced too often."""
    for _ in range(7):
        evaluate(small_model(), batches(X, Y, 150), SCHEMA)
    assert "retracing" not in caplog.text


def test_shows_a_bar_where_it_is_asked_for(model, capsys):
    figures = evaluate(model, batches(X, Y, 64), SCHEMA, verbose=1)
    assert "5/5" in capsys.readouterr().out
    assert evaluate(model, batches(X, Y, 64), SCHEMA) == pytest.approx(figures, nan_ok=True)
    assert not capsys.readouterr().out
    with pytest.raises(ValueError, match=r"`verbose` must be 'auto', 0 or 1\. Received: verbose=2"):
        evaluate(model, batches(X, Y, 64), SCHEMA, verbose=2)


def test_validates_every_so_many_epochs():
    model = small_model()
    model.compile("sgd", **objectives(TASKS))
    data = batches(X, Y, 64)
    history = fit_callbackless(model, data, epochs=5, callbacks=[Validation(data, SCHEMA, validation_freq=2)])
    assert len(history["loss"]) == 5 and len(history["val_click_auc"]) == 2
    with pytest.raises(ValueError, match="validation_freq=0"):
        Validation(data, SCHEMA, validation_freq=0)


def test_follows_the_weights_as_they_change():
    """The compiled model is kept from one evaluation to the next; its weights are not frozen in it."""
    model = small_model()
    evaluation = Evaluation(model, SCHEMA)
    before = evaluation(batches(X, Y, 64))["click_logloss"]
    model.set_weights([w * 2 for w in model.get_weights()])
    after = evaluation(batches(X, Y, 64))["click_logloss"]
    assert after != before
    assert after == pytest.approx(evaluate(model, batches(X, Y, 64), SCHEMA)["click_logloss"], rel=1e-6)


def test_a_model_that_preprocesses_itself_gets_raw_groups(model, predictions):
    """The dtype tells: `""` and -1 are nobody, and 0 is a user where it is no row number of int32."""

    class Preprocessing(keras.Model):
        def call(self, x, training=False):
            raw = x["user"]
            ids = tf.strings.to_number(tf.strings.join(["0", raw]), tf.int32) if raw.dtype == tf.string else raw
            return model({**x, "user": tf.cast(tf.maximum(ids, 0), "int32")})

    everything = np.ones(300, bool)
    strings = np.where(X["user"] % 3 == 0, "", X["user"].astype(str))
    numbers = np.where(X["user"] % 3 == 1, -1, X["user"]).astype("int64")
    for users in (strings, numbers):
        figures = evaluate(Preprocessing(), batches({**X, "user": users}, Y, 64), SCHEMA, group="user")
        labelled = ~np.isnan(Y["click"])
        coverage = figures["click_gauc_row_coverage"]
        scores = np.asarray(Preprocessing()({**X, "user": tf.constant(users)})["click"])[:, 0].astype("float64")
        wanted = sklearn_gauc(Y["click"][labelled], scores[labelled], users[labelled])
        assert (figures["click_gauc"], figures["click_gauc_group_coverage"], coverage) == pytest.approx(
            wanted, rel=1e-5
        )
        assert coverage < 0.75 and everything.all()


def test_slices_keep_bytes_apart_that_are_no_text(model):
    codes = np.array([b"\xff", b"\xfe", b"ok"], object)[np.arange(300) % 3]
    figures = evaluate(model, batches({**X, "code": codes}, Y, 64), SCHEMA, slices={"code": "code"})
    for name in ("\\xff", "\\xfe", "ok"):
        assert figures[f"code={name}/click_rows"] == 100


def test_rows_without_a_value_are_in_no_slice(model):
    slices = {"device": lambda x: ["app" if user < 5 else None for user in np.asarray(x["user"])]}
    figures = evaluate(model, batches(X, Y, 64), SCHEMA, slices=slices)
    assert figures["device=app/click_rows"] == (X["user"] < 5).sum()
    assert "device=None/click_rows" not in figures


@pytest.mark.parametrize("outputs", [list, lambda answers: next(iter(answers))], ids=["list", "tensor"])
def test_refuses_a_model_without_task_names(model, outputs):
    nameless = keras.Model(model.inputs, outputs(model.output.values()))
    with pytest.raises(ValueError, match=r"`model` must return \{task: \(B, 1\)\}\. Received: "):
        evaluate(nameless, batches(X, Y, 64), SCHEMA)


@pytest.mark.parametrize("wrong", ["shape", "group"])
def test_validation_checks_its_dataset_before_the_first_step(wrong):
    data, steps = batches(X, Y, 64), []
    model = small_model()
    model.compile("sgd", **objectives(TASKS))
    if wrong == "shape":
        validation = Validation(data.map(lambda x, y: (x, y, (y["sale"], y["click"], y["price"]))), SCHEMA)
    else:
        validation = Validation(data, SCHEMA, group="usr")
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    with pytest.raises(ValueError, match=r"must give|lacks: \['usr'\]"):
        model.fit(data, verbose=0, callbacks=[count, validation])
    assert not steps


WEIGHTS = {name: np.random.default_rng(seed).uniform(0, 3, 300).astype("float32") for seed, name in enumerate(Y)}
USERS_OF_WEIGHT = np.array([f"u{i % 11}" for i in range(300)])


def weighted_gauc(labels, scores, users, weights):
    """Of every user with both classes, weighted by the sum of the rows' weights."""
    of = {user: users == user for user in np.unique(users)}
    counted = {user: rows for user, rows in of.items() if len(set(labels[rows])) == 2}
    areas = [roc_auc_score(labels[rows], scores[rows], sample_weight=weights[rows]) for rows in counted.values()]
    sizes = [weights[rows].sum() for rows in counted.values()]
    return np.average(areas, weights=sizes), len(counted) / len(of), sum(sizes) / weights.sum()


@pytest.mark.parametrize("form", ["by task", "one for all", "one column"])
def test_weighs_every_mean(model, predictions, form):
    """Labels that are missing have weights that nobody may look at."""
    weights = WEIGHTS if form == "by task" else dict.fromkeys(Y, WEIGHTS["click"])
    given = {name: np.where(np.isnan(Y[name]), np.nan, w).astype("float32") for name, w in weights.items()}
    if form != "by task":
        given = weights["click"][:, None] if form == "one column" else weights["click"]
    data = tf.data.Dataset.from_tensor_slices(({**X, "user_id": USERS_OF_WEIGHT}, Y, given)).batch(64)
    figures = evaluate(model, data, SCHEMA, group="user_id", slices={"low": lambda x: x["a"] < 0})
    for prefix, keep in {"": np.ones(300, bool), "low=True/": X["a"] < 0}.items():
        expected = {}
        for task in TASKS:
            valid = keep & ~np.isnan(Y[task.name])
            labels, scores, w = (column[valid] for column in (Y[task.name], predictions[task.name], weights[task.name]))
            found = {"rows": len(labels)}
            if task.kind == "regression":
                rmse = root_mean_squared_error(labels, scores, sample_weight=w)
                found |= {"rmse": rmse, "mse": rmse**2}
            else:
                found |= {
                    "positives": labels.sum(),
                    "auc": roc_auc_score(labels, scores, sample_weight=w),
                    "logloss": log_loss(labels, scores, sample_weight=w),
                    "calibration": np.average(scores, weights=w) / np.average(labels, weights=w),
                }
                gauc = weighted_gauc(labels, scores, USERS_OF_WEIGHT[valid], w)
                found |= dict(zip(("gauc", "gauc_group_coverage", "gauc_row_coverage"), gauc, strict=True))
            expected |= {f"{prefix}{task.name}_{name}": value for name, value in found.items()}
        assert {name: figures[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_weights_count_as_repetitions(model):
    times = np.random.default_rng(5).integers(0, 4, 300)
    repeated = [{name: np.repeat(column, times) for name, column in part.items()} for part in (X, Y)]
    weighted = tf.data.Dataset.from_tensor_slices((X, Y, times.astype("float32"))).batch(64)
    ours, theirs = evaluate(model, weighted, SCHEMA), evaluate(model, batches(*repeated, 64), SCHEMA)
    for name in ("click_auc", "click_logloss", "sale_calibration", "price_rmse"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-6)


def test_validation_weighs_as_evaluate_does():
    model = small_model()
    model.compile("sgd", **objectives(TASKS))
    data = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHTS)).batch(64)
    history = fit_callbackless(model, data, callbacks=[Validation(data, SCHEMA)])
    assert history["val_click_auc"] == [evaluate(model, data, SCHEMA)["click_auc"]]


@pytest.mark.parametrize(
    ("y", "weights", "message"),
    [
        ({"click": np.full(300, -1.0)}, None, "The labels of `click` must be 0, 1 or NaN.*Received: -1"),
        ({"sale": np.full(300, 0.5)}, None, "The labels of `sale` must be 0, 1 or NaN.*Received: 0.5"),
        ({"price": np.full(300, np.inf)}, None, "The labels of `price` must be .*finite.*Received: inf"),
        ({}, {**WEIGHTS, "click": -WEIGHTS["click"]}, "The sample weights of `click` must be finite and >= 0"),
        ({}, {"click": WEIGHTS["click"]}, r"No sample weight of task 'sale'. Received: \['click'\]"),
    ],
)
def test_refuses_labels_and_weights_by_task(model, y, weights, message):
    columns = (X, {**Y, **y}) if weights is None else (X, {**Y, **y}, weights)
    with pytest.raises(ValueError, match=message):
        evaluate(model, tf.data.Dataset.from_tensor_slices(columns).batch(64), SCHEMA)


def test_refuses_weights_by_position(model):
    data = tf.data.Dataset.from_tensor_slices((X, Y, tuple(WEIGHTS.values()))).batch(64)
    with pytest.raises(ValueError, match="the weights as a dict by task or as one column"):
        evaluate(model, data, SCHEMA)


def test_shows_the_figures_that_were_asked_for(model):
    figures = evaluate(model, batches(X, Y, 64), SCHEMA, figures=("auc", "rmse"), slices={"low": lambda x: x["a"] < 0})
    names = {"sale_auc", "click_auc", "price_rmse"}
    assert set(figures) == {f"{prefix}{name}" for prefix in ("", "low=True/", "low=False/") for name in names}
    for wrong in ("auc", ["click_auc"]):
        with pytest.raises(ValueError, match=r"`figures` must be some of .*Received: figures="):
            evaluate(model, batches(X, Y, 64), SCHEMA, figures=wrong)


def test_a_model_is_traced_once_for_all_evaluations():
    plain, traced = small_model(), []

    class Counting(keras.Model):
        def call(self, x, training=False):
            traced.append(1)
            return plain(x)

    counting = Counting()
    for _ in range(8):
        evaluate(counting, batches(X, Y, 300), SCHEMA)
    assert len(traced) == 1
    gone = weakref.ref(counting)
    del counting
    gc.collect()
    assert gone() is None


def test_copies_of_validation_are_callbacks_of_their_own():
    """As KerasTuner makes them, one a trial: over a dataset and a preprocessor that have no copies."""
    original = Validation(batches(X, Y, 64), SCHEMA, preprocessor=lambda x: x, group="user")
    copied = copy.deepcopy([original])[0]
    histories = []
    for callback in (original, copied):
        keras.utils.set_random_seed(3)
        model = small_model()
        model.compile("sgd", **objectives(TASKS))
        histories.append(fit_callbackless(model, batches(X, Y, 64), callbacks=[callback]))
        assert callback.model is model
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-5, err_msg=name)
    assert original.model is not copied.model
    assert copy.deepcopy(copied).dataset is original.dataset  # once it has been used, too

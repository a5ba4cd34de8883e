"""A balanced model is used as any Keras model: `compile`, `fit`, callbacks, files; and its step is the one that was meant."""

import numpy as np
import pytest
import tensorflow as tf
from harness import gradients
from training.models import SCHEMA, TASKS, batches, rows, small_model

from tfmtl.keras_host import LEGACY, keras
from tfmtl.optimizers import LazyAdam, optimizer
from tfmtl.schema import Task
from tfmtl.training import objectives
from tfmtl.training.balancing import (
    DBMTL,
    DWA,
    FAMO,
    MGDA,
    RLW,
    CAGrad,
    GradNorm,
    MetaBalance,
    NashMTL,
    PCGrad,
    Static,
    UPGrad,
    balanced,
)
from tfmtl.training.balancing import balanced_model as module
from tfmtl.training.balancing.gramian_balancer import GramianBalancer

RATE = 0.1


class FirstOnly(GramianBalancer):
    """Gives the other tasks a weight of zero, by which no gradient can be divided."""

    def weights(self, gramian, present):
        return tf.one_hot(0, gramian.shape[0], dtype=gramian.dtype)


def made(balancer, *, model=None, optimizer=None, tasks=TASKS, **options):
    """The small model of three tasks, compiled; the same weights every time."""
    keras.utils.set_random_seed(7)
    model = small_model(tasks) if model is None else model
    model = model if balancer is None else balanced(model, balancer)
    model.compile(optimizer or keras.optimizers.SGD(RATE), **objectives(tasks), **options)
    return model


def one_step(model, x, y):
    return model.train_on_batch(x, y, return_dict=True)


def assert_same_weights(one, two, **tolerance):
    for ours, theirs in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, **{"rtol": 1e-5, "atol": 1e-7, **tolerance})


def task_gradients(model, x, y):
    """By task, the gradient of its weighted loss by every trainable weight, None where it does not reach one."""
    given = objectives(TASKS)
    return {
        name: gradients(
            lambda name=name: given["loss"][name](y[name], model(x)[name]) * given["loss_weights"][name],
            model.trainable_variables,
        )
        for name in y
    }


def plain_parts(model):
    """For each weight, whether it is the table, shared, or the tower of a task."""
    names = [getattr(v, "path", v.name) for v in model.trainable_variables]
    return [
        "table" if "embed" in n else "tower" if n.split("/")[-2] in ("sale", "click", "price") else "shared"
        for n in names
    ]


def regularised(tasks=TASKS):
    """Losses that no task has: of a table, and of an activation."""
    inputs = {name: keras.Input((), name=name) for name in ("b", "a")}
    user = keras.Input((), dtype="int32", name="user")
    table = keras.layers.Embedding(21, 2, embeddings_regularizer=keras.regularizers.L2(0.1))(user)
    x = keras.layers.Concatenate()([*map(keras.layers.Reshape((1,)), inputs.values()), table])
    x = keras.layers.Dense(8, "tanh", kernel_regularizer=keras.regularizers.L2(0.1))(x)
    x = keras.layers.ActivityRegularization(l2=0.1)(x)
    outputs = {
        t.name: keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1), name=t.name)(x) for t in tasks
    }
    return keras.Model({**inputs, "user": user}, outputs)


def test_static_weights_of_one_are_the_plain_model():
    """Logs, weights and validation, with regularisation, clipping, weights that decay or belong to a row, a short batch."""
    tasks = (Task("sale", weight_decay=0.5), *TASKS[1:])
    x, y = rows(21)
    weights = {name: np.linspace(0.5, 1.5, 21).astype("float32") for name in y}
    data = tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(8)
    found = []
    for balancer in (None, Static()):
        keras.utils.set_random_seed(7)
        split = optimizer(embeddings=LazyAdam(0.01), dense=keras.optimizers.Adam(0.01, clipnorm=0.1))
        model = regularised() if balancer is None else balanced(regularised(), balancer)
        model.compile(split, **objectives(tasks, optimizer=split, decay_steps=2))
        found.append((model.fit(data, epochs=2, validation_data=data, verbose=0).history, model))
    (plain_logs, plain), (logs, model) = found
    assert set(logs) - set(plain_logs) == {"sale_weight", "click_weight", "price_weight"}
    for name in plain_logs:
        np.testing.assert_allclose(logs[name], plain_logs[name], rtol=1e-5, err_msg=name)
    assert_same_weights(plain, model, rtol=1e-4, atol=1e-6)
    assert set(model.evaluate(data, verbose=0, return_dict=True)) == {n for n in plain_logs if not n.startswith("val_")}


@pytest.mark.parametrize(
    "balancer",
    [CAGrad(), PCGrad(seed=1), NashMTL(), DBMTL(), FirstOnly(), FirstOnly(every=2), MetaBalance("sale", 1.0)],
    ids=repr,
)
def test_the_step_is_the_weighted_one(balancer, monkeypatch):
    """Shared weights move along `sum_k w_k g_k`, towers along what the method says, and the table stays sparse."""
    x, y = rows(16)
    model = made(balancer, run_eagerly=True)
    own = task_gradients(model, x, y)
    before, parts = [v.numpy() for v in model.trainable_variables], plain_parts(model)
    assert parts.count("shared") == 2 and parts.count("table") == 1 and parts.count("tower") == 6
    given = []
    applied = module.apply_scaled
    monkeypatch.setattr(module, "apply_scaled", lambda o, g, v: (given.extend(g), applied(o, g, v)))
    logs = one_step(model, x, y)
    weight = {name: float(logs[f"{name}_weight"]) for name in y}
    for place, (variable, part) in enumerate(zip(model.trainable_variables, parts, strict=True)):
        moved = (before[place] - variable.numpy()) / RATE
        mine = {name: g[place] for name, g in own.items() if g[place] is not None}
        factor = {name: 1.0 if part == "tower" and not balancer.weighs_towers else weight[name] for name in mine}
        if isinstance(balancer, MetaBalance):
            length = {name: np.linalg.norm(g) for name, g in mine.items()}
            factor = {name: length["sale"] / length[name] if part == "shared" else 1.0 for name in mine}
        np.testing.assert_allclose(moved, sum(factor[n] * mine[n] for n in mine), rtol=1e-3, atol=2e-6)
        assert isinstance(given[place], tf.IndexedSlices) == (part == "table")
    jacobian = np.stack(
        [
            np.concatenate([g.ravel() for g, p in zip(own[n], parts, strict=True) if p == "shared"])
            for n in logs_order(logs)
        ]
    )
    if isinstance(balancer, CAGrad):
        wanted = balancer.weights(tf.constant(jacobian @ jacobian.T, "float64"), tf.ones(3, "bool"))
        np.testing.assert_allclose([weight[n] for n in logs_order(logs)], wanted, rtol=1e-4)


def logs_order(logs):
    """The tasks in the order of the schema, which is that of `compile`."""
    return [task.name for task in TASKS if f"{task.name}_weight" in logs]


def test_a_task_without_labels_keeps_its_weight_and_state():
    x, y = rows(16)
    model = made(GradNorm(learning_rate=0.2), run_eagerly=True)
    first = one_step(model, x, y)
    model.reset_metrics()
    without = {**y, "sale": np.full(16, np.nan, "float32")}
    second = one_step(model, x, without)
    assert second["sale_weight"] == first["sale_weight"] != 1
    assert second["click_weight"] != first["click_weight"]
    state = {name: v.numpy() for name, v in model.balancing.held.items() if name.startswith("own_")}
    model.reset_metrics()
    none = one_step(model, x, {name: np.full(16, np.nan, "float32") for name in y})
    assert all(none[f"{n}_weight"] == second[f"{n}_weight"] for n in y)
    for name, value in state.items():
        np.testing.assert_array_equal(model.balancing.held[name].numpy(), value)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_weights_are_held_between_measurements():
    """Also within one call of the training function; what is measured at step 0 and 3 is what `every=1` would find."""
    x, y = rows(40)
    model = made(CAGrad(every=3), steps_per_execution=2)
    seen = []

    class Seen(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append((int(model.balancing.held["step"].numpy()), model.balancing.held["weights"].numpy()))

    model.fit(batches(x, y, 8), verbose=0, callbacks=[Seen()])
    steps, weights = zip(*seen, strict=True)
    assert steps[-1] == 5 and steps[0] == 2
    np.testing.assert_array_equal(weights[-1], weights[-2])
    assert np.abs(weights[0] - weights[1]).max() > 1e-4


def test_files_hold_the_plain_model(tmp_path):
    x, y = rows(16)
    model = made(DWA(), optimizer="adam")
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"))
    model.fit(batches(x, y, 8), verbose=0, callbacks=[checkpoint])
    model.save(tmp_path / "own.keras")
    keras.saving.save_model(model, tmp_path / "saved.keras")
    wanted = model.predict(x, verbose=0)
    for name in ("best", "own", "saved"):
        loaded = keras.models.load_model(tmp_path / f"{name}.keras")
        assert type(loaded) is type(small_model()), name
        for task, value in loaded.predict(x, verbose=0).items():
            np.testing.assert_allclose(value, wanted[task], rtol=1e-6)
    again = keras.models.load_model(tmp_path / "own.keras")
    plain_logs = again.fit(batches(x, y, 8), verbose=0).history
    assert "sale_auc" in plain_logs and "sale_weight" not in plain_logs
    model.export(str(tmp_path / "served"))
    assert (tmp_path / "served" / "saved_model.pb").exists()
    model.fit(batches(x, y, 8), verbose=0)  # saving did not disturb it


class Crash(keras.callbacks.Callback):
    """Ends training when an epoch begins."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise InterruptedError


def test_an_interrupted_fit_resumes_with_the_balancers_state(tmp_path):
    x, y = rows(16)
    data = batches(x, y, 8)
    options = {"epochs": 3, "verbose": 0}
    whole = made(DBMTL())
    whole.fit(data, **options)

    backup = lambda: keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))  # noqa: E731
    with pytest.raises(InterruptedError):
        made(DBMTL()).fit(data, **options, callbacks=[backup(), Crash(2)])
    resumed = made(DBMTL())
    resumed.fit(data, **options, callbacks=[backup()])
    assert_same_weights(resumed, whole)
    assert_same_state(resumed, whole)

    resumed.save_weights(tmp_path / "state.weights.h5")
    tf.train.Checkpoint(model=resumed).write(str(tmp_path / "checkpoint"))
    by_file, by_checkpoint = made(DBMTL()), made(DBMTL())
    by_file.load_weights(tmp_path / "state.weights.h5")
    tf.train.Checkpoint(model=by_checkpoint).restore(str(tmp_path / "checkpoint")).expect_partial()
    for restored in (by_file, by_checkpoint):
        assert_same_state(restored, whole)

    plain = small_model()
    plain.load_weights(tmp_path / "state.weights.h5")  # the plain model reads it too, and the other way round
    assert_same_weights(plain, whole.plain())
    plain.save_weights(tmp_path / "plain.weights.h5")
    fresh = made(DBMTL())
    fresh.load_weights(tmp_path / "plain.weights.h5")
    assert fresh.balancing.held["step"].numpy() == 0
    with pytest.raises(ValueError, match="another balancer"):
        made(GradNorm()).load_weights(tmp_path / "state.weights.h5")


def assert_same_state(one, two):
    for name, variable in two.balancing.held.items():
        np.testing.assert_allclose(one.balancing.held[name].numpy(), variable.numpy(), rtol=1e-5, err_msg=name)
    assert two.balancing.held["step"].numpy() == 6


def test_mixed_precision_finds_the_same_weights():
    """Gradients hold the scale of the loss, which must not reach the Gramian."""
    x, y = rows(32)
    found = []
    for policy in ("float32", "mixed_float16"):
        keras.mixed_precision.set_global_policy(policy)
        try:
            # tf_keras does it by itself for names of optimizers alone.
            sgd = keras.optimizers.SGD(RATE)
            scaled = keras.mixed_precision.LossScaleOptimizer(sgd) if LEGACY and policy != "float32" else sgd
            model = made(DBMTL(), optimizer=scaled, run_eagerly=True)
        finally:
            keras.mixed_precision.set_global_policy("float32")
        logs = one_step(model, x, y)
        found.append([float(logs[f"{name}_weight"]) for name in y])
        final = model.get_weights()[-1]
        assert np.isfinite(final).all()
    assert "LossScale" in type(model.optimizer).__name__
    np.testing.assert_allclose(found[1], found[0], rtol=0.02)


@pytest.mark.keras3
def test_xla_compiles_the_step():
    """With the solver in it; on GPUs Keras 3 compiles so by itself."""
    x, y = rows(16)
    found = []
    for compiled in (False, True):
        model = made(UPGrad(), jit_compile=compiled)
        model.train_on_batch(x, y)
        found.append(model.balancing.held["weights"].numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


@pytest.mark.parametrize("count", [1, 16])
def test_any_number_of_tasks(count):
    tasks = tuple(Task(f"t{k}") for k in range(count))
    x, y = rows(32)
    labels = {task.name: np.roll(y["click"], k) for k, task in enumerate(tasks)}
    for balancer in (UPGrad(), FAMO()):
        model = made(balancer, tasks=tasks, run_eagerly=True)
        logs = one_step(model, x, labels)
        assert all(np.isfinite(logs[f"{task.name}_weight"]) for task in tasks)
        total = sum(float(logs[f"{task.name}_weight"]) for task in tasks)
        alone = count == 1 or isinstance(balancer, FAMO)
        assert total == pytest.approx(1) if alone else total > 1 - 1e-5


def test_losses_by_name_and_functions():
    """As Keras takes them, on any functional model with a dict of outputs, here one without a dict of inputs."""
    x, y = rows(16, missing=0.0)
    losses = {"click": "binary_crossentropy", "price": keras.losses.MeanSquaredError()}
    data, labels = np.stack([x["a"], x["b"]], 1), {name: y[name] for name in losses}
    found = []
    for balancer in (None, Static()):
        keras.utils.set_random_seed(1)
        column = keras.Input((2,), name="x")
        hidden = keras.layers.Dense(4)(column)
        model = keras.Model(column, {name: keras.layers.Dense(1, "sigmoid", name=name)(hidden) for name in losses})
        model = balanced(model, balancer) if balancer else model
        model.compile(keras.optimizers.SGD(RATE), loss=losses, run_eagerly=True)
        found.append((one_step(model, data, labels), model.get_weights()))
    assert set(found[1][0]) == {*found[0][0], "click_weight", "price_weight"}
    for ours, theirs in zip(found[1][1], found[0][1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


class Subclassed(keras.Model):
    """A model whose layers are known to its `call` alone."""

    def call(self, x):
        return {"a": x}


def table_only():
    """Two tasks that meet in an embedding table."""
    user = keras.Input((), dtype="int32", name="user")
    row = keras.layers.Embedding(21, 2)(user)
    return keras.Model({"user": user}, {t: keras.layers.Dense(1, name=t)(row) for t in ("click", "sale")})


def test_refusals():
    model = small_model()
    column = keras.Input((2,))
    for wrong, message in [
        (Subclassed(), "functional Keras model"),
        (keras.Model(column, keras.layers.Dense(1)(column)), "must return a dict"),
        ("ple", "functional Keras model"),
    ]:
        with pytest.raises(ValueError, match=message):
            balanced(wrong, CAGrad())
    with pytest.raises(ValueError, match="must be a balancer"):
        balanced(model, "cagrad")
    two = [Task("click"), Task("sale")]
    with pytest.raises(ValueError, match="MGDA reads the gradients of dense weights"):
        balanced(table_only(), MGDA()).compile("sgd", **objectives(two))
    balanced(table_only(), RLW()).compile("sgd", **objectives(two))
    for options, message in [
        ({"loss": {"buy": "mse"}}, "`loss` names tasks that the model does not predict: \\['buy'\\]"),
        ({"loss": ["mse"] * 3}, "`loss=\\{task: loss\\}`"),
        ({}, "`loss=\\{task: loss\\}`"),
        ({"loss": {"sale": "mse"}, "loss_weights": {"buy": 1.0}}, "`loss_weights` names tasks"),
    ]:
        with pytest.raises(ValueError, match=message):
            balanced(model, RLW()).compile("sgd", **options)
    with pytest.raises(ValueError, match="`target` names tasks"):
        balanced(model, MetaBalance("buy")).compile("sgd", **objectives(TASKS))


def test_a_balanced_model_can_be_balanced_anew():
    first = made(RLW())
    second = balanced(first, Static())
    assert second.trainable_variables[0] is first.trainable_variables[0]
    assert SCHEMA.task_names == tuple(second.output)

"""A run that is killed, however often, and started again ends with the weights of one that ran through, to the bit."""

import json
import os
import random
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf
from fresh import run_forked
from harness import ROOT
from training.models import SCHEMA, batches, rows, small_model

import tfmtl
from tfmtl.keras_host import keras
from tfmtl.training import Resume, objectives

RUN = """
import contextlib, json, os, signal, sys
import numpy as np
import tensorflow as tf
import tfmtl
from training.models import rows
from tfmtl import Categorical, Numeric, Schema, Task
from tfmtl.keras_host import LEGACY, keras
from tfmtl.training import BestCheckpoint, Resume, Validation, objectives
from tfmtl.training.balancing import DWA, balanced

folder, out, kill, options = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
tasks = [Task("click", weight_decay=0.7), Task("sale")]
schema = Schema([Categorical("user", num_ids=21, dim=2, dtype="int64"), Numeric("a", transform=None, flag_missing=False)], tasks)
x, y = rows(300)
table = {"user": x["user"].astype("int64"), "a": x["a"], "click": y["click"], "sale": y["sale"]}
source = options.get("source") or table

keras.utils.set_random_seed(3)
scope = contextlib.nullcontext()
if options.get("replicas"):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()
train = tfmtl.read(source, schema, batch_size=16, shuffle=100, encode=True)
steps = options.get("steps")
with scope:
    inputs = {"user": keras.Input((), dtype="int32", name="user"), "a": keras.Input((), name="a")}
    table = keras.layers.Embedding(23, 2)(inputs["user"])
    hidden = keras.layers.Concatenate()([keras.layers.Reshape((1,))(inputs["a"]), table])
    hidden = keras.layers.Dense(4, "tanh")(hidden)
    hidden = hidden if LEGACY else keras.layers.Dropout(0.3)(hidden)  # tf_keras hides what it draws
    model = keras.Model(inputs, {t.name: keras.layers.Dense(1, "sigmoid", name=t.name)(hidden) for t in tasks})
    model = balanced(model, DWA()) if options.get("balanced") else model
    optimizer = tfmtl.LazyAdam(keras.optimizers.schedules.ExponentialDecay(0.05, 7, 0.9), weight_decay=0.01)
    model.compile(
        optimizer,
        steps_per_execution=options.get("steps_per_execution", 1),
        **objectives(tasks, optimizer=optimizer, decay_steps=9),
    )

class Kill(keras.callbacks.Callback):
    trained = 0

    def on_train_batch_end(self, batch, logs=None):
        self.trained += 1
        if self.trained == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trained == 1 and "seconds" in options:
            signal.setitimer(signal.ITIMER_REAL, options["seconds"])  # nobody handles it: it ends the process wherever it is

stop = keras.callbacks.EarlyStopping("val_click_logloss", mode="min", patience=2, restore_best_weights=True)
best = BestCheckpoint("val_click_auc", ["val_sale_auc"], tolerance=0.01, restore_best_weights=False)
callbacks = [Validation(tfmtl.read(source, schema, batch_size=128, encode=True), schema), best, stop]
resume = Resume(folder, callbacks, save_freq=options.get("save_freq", 5), steps_per_epoch=steps)
history = model.fit(
    train.repeat() if steps else train,
    epochs=4,
    steps_per_epoch=steps,
    verbose=0,
    callbacks=[*callbacks, resume, Kill()],
)
held = model.optimizer.variables
numbers = [v.numpy() for v in [*model.weights, *(held() if callable(held) else held)]]
told = {"logs": history.history, "epochs": history.epoch, "best": best.best_epoch, "waited": stop.wait}
np.savez(out, *numbers, told=json.dumps(told, default=float))
"""


def run(folder, out, kill, options, seconds=300):
    """Runs `RUN` in a process of its own, killed after so many batches; returns whether it came to its end."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    arguments = [str(folder), str(out), str(kill), json.dumps(options)]
    code, _, errors = run_forked(RUN, arguments, environment, seconds)
    assert code in (0, -signal.SIGKILL, -signal.SIGALRM), errors[-6000:]
    return code == 0


def assert_as_one(tmp_path, kills, **options):
    """Kills a run after `kills` batches of each of its processes and compares its end with that of a run without."""

    def killed():
        for kill in kills:
            assert not run(tmp_path / "killed", tmp_path / "killed.npz", kill, options)
        assert run(tmp_path / "killed", tmp_path / "killed.npz", 0, options)

    with ThreadPoolExecutor(2) as pool:
        whole = pool.submit(run, tmp_path / "whole", tmp_path / "whole.npz", 0, options)
        pool.submit(killed).result()
        assert whole.result()
    assert_equal_files(tmp_path / "killed.npz", tmp_path / "whole.npz")


def assert_equal_files(first, second):
    found, wanted = np.load(first), np.load(second)
    assert found.files == wanted.files
    for name in wanted.files:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_killed_runs_end_as_one_that_ran_through(tmp_path):
    """In the first epoch, right after a checkpoint, in a later epoch; weights, slots, logs, the best epoch, patience."""
    assert_as_one(tmp_path, [7, 6, 27])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"steps_per_execution": 4, "save_freq": 8},
        {"balanced": True},
        {"steps": 15},
        {"replicas": 2},
        {"save_freq": "epoch"},
        {"source": "rows.tfrecord"},
        {"source": "rows.parquet"},
    ],
    ids=str,
)
def test_killed_runs_of_other_kinds_end_as_one_that_ran_through(tmp_path, options):
    if source := options.get("source"):
        options = {"source": write_rows(tmp_path / source)}
    # Four batches are one for callbacks: in the first epoch, right after a checkpoint, in a later epoch.
    kills = [3, 4, 8] if "steps_per_execution" in options else [7, 6, 27]
    assert_as_one(tmp_path, kills, **options)


@pytest.mark.slow
def test_20_kills_at_any_moment(tmp_path):
    """From outside, also while a checkpoint is written; each process is given longer than the one before."""
    assert run(tmp_path / "whole", tmp_path / "whole.npz", 0, {"save_freq": 1})
    draw = random.Random(0)
    for _ in range(20):
        assert not run(tmp_path / "killed", "nothing", 0, {"save_freq": 1, "seconds": draw.uniform(0, 0.15)})
    assert run(tmp_path / "killed", tmp_path / "killed.npz", 0, {"save_freq": 1})
    assert_equal_files(tmp_path / "killed.npz", tmp_path / "whole.npz")


def write_rows(path):
    """The rows of `RUN` in a file."""
    x, y = rows(300)
    table = {"user": x["user"].astype("int64"), "a": x["a"], "click": y["click"], "sale": y["sale"]}
    if path.suffix == ".parquet":
        pa.parquet.write_table(pa.table(table), path, row_group_size=64)
        return str(path)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for values in zip(*table.values(), strict=True):
            user, *numbers = values
            feature = {"user": tf.train.Feature(int64_list=tf.train.Int64List(value=[user]))}
            for name, number in zip(list(table)[1:], numbers, strict=True):
                feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[number]))
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return str(path)


DATA = batches(*rows(64), 8)


def compiled():
    keras.utils.set_random_seed(7)
    model = small_model()
    model.compile(keras.optimizers.Adam(0.01), **objectives(SCHEMA.tasks), run_eagerly=True)
    return model


def fitted(folder, epochs=2, data=DATA, **options):
    """A model that went on in `folder`, eagerly, since these steps are few; and its history."""
    model = compiled()
    history = model.fit(data, epochs=epochs, verbose=0, callbacks=[Resume(folder, **options)])
    return model, history


def assert_same_weights(model, other):
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Two epochs of 8 batches with a checkpoint in the middle of each, and the folder."""
    folder = tmp_path_factory.mktemp("ended")
    return fitted(folder / "run", save_freq=4)[0], folder / "run"


@pytest.fixture
def run_folder(ended, tmp_path):
    return shutil.copytree(ended[1], tmp_path / "run")


@pytest.mark.parametrize("split", [False, True])
def test_steps_that_found_no_batch_are_not_counted(split, tmp_path):
    """In a graph of tf_keras they would be: the end of data of unknown length comes in the middle of a step."""
    inputs = keras.Input(())
    table = keras.layers.Embedding(8, 1)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(table))
    parts = [keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01)]
    model.compile(tfmtl.optimizer(embeddings=parts[0], dense=parts[1]) if split else parts[0], "binary_crossentropy")
    data = tf.data.Dataset.from_tensor_slices((tf.range(6), tf.zeros((6, 1)))).batch(2).filter(lambda x, y: True)
    for epochs in (1, 3):  # as two processes would
        model.fit(data, epochs=epochs, verbose=0, callbacks=[Resume(tmp_path / "run")])
    for part in parts if split else parts[:1]:
        assert int(tf.convert_to_tensor(part.iterations)) == 9


def test_a_run_that_ended_is_loaded_and_not_trained(ended, run_folder):
    model, history = fitted(run_folder)
    assert_same_weights(model, ended[0])
    assert history.epoch == [0, 1] and len(history.history["loss"]) == 2


def test_more_epochs_go_on_and_other_fits_begin_as_ever(ended, run_folder):
    resume = Resume(run_folder)
    assert resume.initial_epoch == 2
    model = compiled()
    assert model.fit(DATA, epochs=3, verbose=0, callbacks=[resume]).epoch == [0, 1, 2]
    assert model.fit(DATA, epochs=1, verbose=0).epoch == [0]
    assert isinstance(Resume(run_folder).initial_epoch, int)


@pytest.mark.parametrize("damage", ["empty", "cut", "gone", "no state"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(ended, run_folder, damage):
    last = sorted(run_folder.iterdir())[-1]
    weights = last / "model.weights.h5"
    if damage == "empty":
        weights.write_bytes(b"")
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "gone":
        weights.unlink()
    else:
        (last / "state.json").write_text("{")
    with pytest.warns(UserWarning, match=f"damaged, and the one before it is taken: .*{last.name}"):
        model, history = fitted(run_folder)
    assert_same_weights(model, ended[0])
    assert history.epoch == [0, 1]


def test_the_last_two_are_kept_and_load_as_weights(ended, run_folder):
    assert [path.name for path in sorted(run_folder.iterdir())] == ["checkpoint-00000005", "checkpoint-00000006"]
    model = compiled()
    model.load_weights(run_folder / "checkpoint-00000006" / "model.weights.h5")
    assert_same_weights(model, ended[0])


def test_refuses_data_that_are_shorter_than_before(run_folder):
    shutil.rmtree(run_folder / "checkpoint-00000006")  # the one before stands at the last batch of an epoch
    with pytest.raises(ValueError, match=r"The data end before the place .* of 7 batches"):
        fitted(run_folder, data=DATA.take(2))


def test_refuses_other_callbacks_and_streams_it_was_not_told_of(run_folder, tmp_path):
    with pytest.raises(ValueError, match=r"other callbacks: \[\]. Received: callbacks=\['EarlyStopping'\]"):
        fitted(run_folder, callbacks=[keras.callbacks.EarlyStopping("loss")])
    with pytest.raises(ValueError, match="`steps_per_epoch` of `fit`"):
        compiled().fit(DATA.repeat(), steps_per_epoch=2, epochs=2, verbose=0, callbacks=[Resume(tmp_path / "stream")])


@pytest.mark.parametrize("name", ["save_freq", "steps_per_epoch"])
def test_refuses_counts_that_are_none(tmp_path, name):
    with pytest.raises(ValueError, match=f"`{name}` must be .*>= 1"):
        Resume(tmp_path, **{name: 0})


def test_says_so_where_keras_does_not_begin_where_it_was_told(run_folder, monkeypatch):
    monkeypatch.setattr("tfmtl.training.resume.begin_at", lambda model, epoch: None)
    with pytest.raises(
        RuntimeError, match=r"began with epoch 0 instead of 2: pass `initial_epoch=resume.initial_epoch`"
    ):
        fitted(run_folder, epochs=3)

"""Faults while a model trains and saves: they are named, and nothing that was on disk before is lost."""

import os

import numpy as np
import pytest
import tensorflow as tf
from fresh import run_forked
from harness import ROOT
from training.models import SCHEMA, batches, rows, small_model

import tfmtl
from tfmtl.keras_host import LEGACY, keras
from tfmtl.training import Resume, StopAtNan, objectives

X, Y = rows(64)


def fitted(a=X["a"], optimizer=None, callbacks=(), epochs=1):
    """Eagerly, since these steps are few."""
    model = small_model()
    model.compile(optimizer or tfmtl.LazyAdam(0.01), **objectives(SCHEMA.tasks), run_eagerly=True)
    model.fit(batches({**X, "a": a}, Y, 8), verbose=0, epochs=epochs, callbacks=list(callbacks))
    return model


def with_nan(row):
    numbers = X["a"].copy()
    numbers[row] = np.nan
    return numbers


def test_names_the_batch_and_the_tasks_whose_loss_is_no_number(tmp_path):
    keep = keras.callbacks.ModelCheckpoint(str(tmp_path / "model.keras"), save_freq=1)
    row = next(row for row in range(24, 32) if not np.isnan(Y["sale"][row]) and np.isnan(Y["price"][row]))
    with pytest.raises(FloatingPointError, match=r"^Epoch 1, batch 4: the loss of .* is no finite number") as info:
        fitted(with_nan(row), callbacks=[StopAtNan(), keep])
    named = info.value.args[0].partition("loss of ")[2].partition(" is ")[0]
    assert sorted(named.split(", ")) == ["click", "sale"]  # and not `price`, which has no label there
    saved = keras.models.load_model(tmp_path / "model.keras")
    assert all(np.isfinite(weight).all() for weight in saved.get_weights())


def test_a_loss_scale_leaves_out_steps_of_such_batches():
    """As the callback's docstring says."""
    if LEGACY:
        scaled = keras.mixed_precision.LossScaleOptimizer(tfmtl.LazyAdam(0.01), initial_scale=1.0)
    else:
        scaled = keras.optimizers.LossScaleOptimizer(tfmtl.LazyAdam(0.01), initial_scale=1.0)
    model = fitted(with_nan(24), scaled)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    inner = scaled.inner_optimizer
    assert int(tf.convert_to_tensor(inner.iterations)) == (8 if LEGACY else 7)  # tf_keras counts the step all the same


SAVES = """
import os, resource, sys
import tfmtl
from training.models import SCHEMA, batches, rows, small_model
from tfmtl.keras_host import keras
from tfmtl.training import BestCheckpoint, ParetoCheckpoints, Resume, objectives

folder, fault = sys.argv[1:]

def fit(callback, epochs):
    keras.utils.set_random_seed(7)
    model = small_model()
    model.compile(keras.optimizers.Adam(0.01), **objectives(SCHEMA.tasks), run_eagerly=True)
    model.fit(batches(*rows(16), 8), epochs=epochs, verbose=0, callbacks=[callback])

schema = tfmtl.Schema([tfmtl.Numeric(n, transform=None, flag_missing=False) for n in "ab"], [tfmtl.Task("click")])
served = tfmtl.models.single_task(schema, units=(4,))
SAVES = [
    lambda epochs: tfmtl.export(served, f"{folder}/served", schema),
    lambda epochs: fit(BestCheckpoint("price_loss", [], filepath=f"{folder}/best/best.keras"), epochs),
    lambda epochs: fit(ParetoCheckpoints(["price_loss", "loss"], f"{folder}/front", save_weights_only=True), epochs),
    lambda epochs: fit(Resume(f"{folder}/run"), epochs),
]
if fault == "full":  # the first error ends HDF5, and with it the process
    SAVES = [SAVES[0], SAVES[-1]]
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
if fault == "denied":
    os.seteuid(65534)
for save in SAVES:
    try:
        save(1 if fault == "none" else 3)
    except Exception:
        if fault in ("none", "healed"):
            raise
    else:
        assert fault in ("none", "healed"), "nothing was raised"
"""


def saves(folder, fault):
    """Runs `SAVES`; returns its exit code, what it said and all files."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    code, _, errors = run_forked(SAVES, [str(folder), fault], environment, 300)
    assert "AssertionError" not in errors, errors[-6000:]
    return code, errors, {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_hidden(path, folder):
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


@pytest.mark.parametrize("fault", ["full", pytest.param("denied", marks=pytest.mark.slow)])
def test_a_disk_that_is_full_or_not_ours_costs_nothing_that_was_there(tmp_path, fault):
    if fault == "denied" and os.geteuid():
        pytest.skip("only root can become somebody else")
    code, errors, before = saves(tmp_path, "none")
    assert code == 0 and len(before) > 8, errors[-6000:]
    _, _, after = saves(tmp_path, fault)
    assert {path: held for path, held in after.items() if not is_hidden(path, tmp_path)} == before
    code, errors, healed = saves(tmp_path, "healed")
    assert code == 0, errors[-6000:]
    assert not [path for path in healed if is_hidden(path, tmp_path)]
    assert Resume(tmp_path / "run").initial_epoch == 3

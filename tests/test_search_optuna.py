"""The search with Optuna, shortened: it gives up on poor trials, finds settings, and ends with a front."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest
from harness import ROOT

from tfmtl.data import adapt, read, synthetic

pytestmark = pytest.mark.keras3

EXAMPLE = ROOT / "examples" / "search_optuna.py"


@pytest.fixture
def example():
    """The example as a module."""
    pytest.importorskip("optuna")
    spec = importlib.util.spec_from_file_location("search_optuna", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_search_runs():
    pytest.importorskip("optuna")
    command = [sys.executable, EXAMPLE, *["--rows", "600", "--trials", "2", "--epochs", "1"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert re.search(r"best mean AUC 0\.\d{4} with \{'units'", done.stdout)
    assert "of 2 trials were given up early" in done.stdout
    front = [tuple(map(float, pair)) for pair in re.findall(r"trial \d: click ([\d.]+), buy ([\d.]+)", done.stdout)]
    assert front and all(not (a[0] > b[0] and a[1] > b[1]) for a in front for b in front)


def test_a_trial_trains_a_preset_and_tells_how_each_epoch_went(example):
    train, valid = synthetic.multi_behavior(500).split(400)
    schema = adapt(
        train.schema, read(train.rows, train.schema, batch_size=128)
    )  # a trial may normalise by the labels' rates
    parts = [read(part.rows, schema, batch_size=128, encode=True) for part in (train, valid)]
    study = example.optuna.create_study(direction="maximize")
    trial = study.ask()
    figures = example.fit_once(trial, schema, parts, epochs=1)
    assert set(figures) == set(example.FIGURES) and len(trial.params) == 6
    told = study.trials[0].intermediate_values
    assert told == {0: pytest.approx(example.mean_auc(figures))}


def test_a_trial_below_the_median_is_given_up(example):
    optuna = example.optuna
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=2))
    figures = iter([0.7, 0.8, 0.6, 0.9])

    def objective(trial):
        auc = next(figures)
        pruning = example.Pruning(trial)
        for epoch in range(2):
            pruning.on_epoch_end(epoch, dict.fromkeys(example.FIGURES, auc))
        return auc

    study.optimize(objective, n_trials=4)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"] and study.best_value == 0.9

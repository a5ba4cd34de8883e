"""Chances are those of the textbooks, and checks stay silent on what chance makes."""

import numpy as np
import pytest
from scipy import stats

from tfmtl.analysis.doctor.checks.calibration import _miscalibrated
from tfmtl.analysis.doctor.checks.labels import _longest_gap
from tfmtl.analysis.doctor.significance import ALPHA, association, auc_error, chance_of_run, normal_tail, sign_test
from tfmtl.metrics import exact
from tfmtl.schema import Task


def test_chances():
    assert normal_tail(2.5) == pytest.approx(2 * stats.norm.sf(2.5))
    assert normal_tail(-2.5) == normal_tail(2.5)
    assert sign_test(37, 50) == pytest.approx(stats.binom.sf(36, 50, 0.5))
    assert sign_test(0, 7) == 1


def test_the_error_of_an_auc_is_that_of_many_draws():
    random = np.random.default_rng(0)
    areas, errors = [], []
    for _ in range(300):
        labels = (random.random(400) < 0.2).astype("float32")
        area, error = association(True, labels, random.normal(size=400) + labels)
        areas.append(area)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.15)
    assert np.isnan(auc_error(0.5, 0, 10))
    one, two = random.normal(size=(2, 500))
    rank, error = association(False, one, one + two)
    assert np.tanh(rank) == pytest.approx(stats.pearsonr(one, one + two)[0]) and error == pytest.approx(497**-0.5)
    assert np.isnan(association(False, np.ones(5), one[:5])[0]) and np.isnan(exact.auc(np.ones(3), one[:3]))


def test_calibrated_predictions_are_left_alone():
    """Of 2,000 calibrated tasks, rare ones and small ones, about ALPHA are named, and none by a small error."""
    random, named = np.random.default_rng(0), 0
    for trial in range(2000):
        rows = (50, 400, 3000)[trial % 3]
        predictions = random.beta(0.3 + trial % 2, 4, rows)
        labels = (random.random(rows) < predictions).astype("float32")
        if 0 < labels.sum() < rows:
            named += _miscalibrated(Task("buy"), labels, predictions, np.ones(rows)) is not None
    assert named <= 2 + 4 * ALPHA * 2000


def test_regressions_are_calibrated_by_their_own_noise():
    random = np.random.default_rng(0)
    truth = random.normal(size=2000)
    labels, weights = (truth + random.normal(size=2000)).astype("float32"), np.ones(2000)
    task = Task("spend", "regression")
    assert _miscalibrated(task, labels, truth, weights) is None
    found = _miscalibrated(task, labels, truth + 0.5, weights)
    assert found is not None and found.evidence["error"] == pytest.approx(0.5, abs=0.1)
    assert _miscalibrated(task, labels[:15], truth[:15] + 0.5, weights[:15]) is None  # too few to tell


def test_gaps():
    assert _longest_gap(np.array([1, 0, 0, 1, 0, 0, 0], bool)) == (4, 3)
    assert _longest_gap(np.zeros(3, bool)) == (0, 3)
    random = np.random.default_rng(0)
    named = sum(chance_of_run(_longest_gap(random.random(2000) < 0.05)[1], 0.05, 2000) < ALPHA for _ in range(1000))
    assert named <= 4
    assert chance_of_run(1, 1.0, 10) == 0

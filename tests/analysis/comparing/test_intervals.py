"""Student's interval against SciPy, the bootstrap against the formula for rows and against what it must do for groups."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import t

from tfmtl.analysis.comparing.gain import Gain
from tfmtl.analysis.comparing.intervals import bootstrap_errors, over_rows, over_seeds, student_quantile
from tfmtl.schema import Task


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 30, 101])
def test_quantiles_are_those_of_student(degrees):
    for probability in (0.6, 0.9, 0.975, 0.9995):
        assert student_quantile(probability, degrees) == pytest.approx(t.ppf(probability, degrees), rel=1e-8)


def test_intervals():
    values = [0.1, 0.3, 0.2]
    low, high = over_seeds(values, 0.9)
    expected = t.interval(0.9, 2, loc=0.2, scale=np.std(values, ddof=1) / 3**0.5)
    assert (low, high) == pytest.approx(expected)
    assert over_seeds([0.1], 0.9) is None and over_rows(0.1, float("nan"), 0.9) is None
    assert over_rows(1.0, 0.5, 0.95) == pytest.approx((1 - 0.98, 1 + 0.98), abs=1e-3)


def rows_of(labels, groups=None, weights=None):
    return SimpleNamespace(labels={"t": labels}, groups=groups, weights=None if weights is None else {"t": weights})


def test_the_error_of_a_mean_over_rows_is_the_formula():
    """R² without noise in the variance is a mean of squares: its error is known."""
    rng = np.random.default_rng(0)
    labels = np.tile([-1.0, 1.0], 1000)
    ours, twins = labels + rng.normal(size=2000), labels + rng.normal(size=2000)
    found = bootstrap_errors(Task("t", "regression"), rows_of(labels), {"m": {1: ours}}, {1: twins}, 400)["m"]
    difference = np.square(labels - twins) - np.square(labels - ours)
    assert found == pytest.approx(difference.std() / 2000**0.5, rel=0.1)


def test_the_error_of_an_auc_is_that_of_delong():
    rng = np.random.default_rng(1)
    labels = (rng.random(1500) < 0.2).astype("float64")
    ours, twins = (labels * shift + rng.normal(size=1500).round(1) for shift in (1.5, 1.0))
    found = bootstrap_errors(Task("t"), rows_of(labels), {"m": {1: ours}}, {1: twins}, 400)["m"]

    def placements(scores):
        positives, negatives = scores[labels == 1][:, None], scores[labels == 0][None]
        above = (positives > negatives) + 0.5 * (positives == negatives)
        return above.mean(1), above.mean(0)

    difference = [a - b for a, b in zip(placements(ours), placements(twins), strict=True)]
    delong = sum(part.var(ddof=1) / len(part) for part in difference) ** 0.5
    assert found == pytest.approx(delong, rel=0.1)


def test_rows_that_come_in_groups_tell_less():
    """Each row nine times: as single rows the error is a third of what it is by group."""
    rng = np.random.default_rng(2)
    labels = np.repeat((rng.random(300) < 0.4).astype("float64"), 9)
    ours, twins = (labels * shift + np.repeat(rng.normal(size=300), 9) for shift in (1.0, 0.5))
    alone, together = (
        bootstrap_errors(Task("t"), rows_of(labels, groups), {"m": {1: ours}}, {1: twins}, 300)["m"]
        for groups in (None, np.repeat(np.arange(300), 9).astype("int32"))
    )
    assert together / alone == pytest.approx(3, rel=0.2)
    nobody = np.full(2700, -1, "int32")
    as_rows = bootstrap_errors(Task("t"), rows_of(labels, nobody), {"m": {1: ours}}, {1: twins}, 300)["m"]
    assert as_rows == alone


def test_missing_labels_and_rows_of_weight_0_count_nowhere():
    rng = np.random.default_rng(3)
    labels, ours, twins = (rng.random(200) < 0.5).astype("float64"), rng.normal(size=200), rng.normal(size=200)
    labels[150:] = np.nan
    weights = np.ones(200, "float32")
    weights[100:150] = 0
    few = bootstrap_errors(Task("t"), rows_of(labels, weights=weights), {"m": {1: ours}}, {1: twins}, 200)["m"]
    ours[100:], twins[100:] = 9, -9
    again = bootstrap_errors(Task("t"), rows_of(labels, weights=weights), {"m": {1: ours}}, {1: twins}, 200)["m"]
    assert few == pytest.approx(again)


def test_only_seeds_that_both_have_count_and_none_says_nothing():
    labels = np.array([0.0, 1.0, 0.0, 1.0])
    scores = {1: labels, 2: labels}
    found = bootstrap_errors(Task("t"), rows_of(labels), {"m": {3: labels}, "n": scores}, scores, 20)
    assert np.isnan(found["m"]) and found["n"] == 0
    assert np.isnan(bootstrap_errors(Task("t"), rows_of(labels), {"n": scores}, scores, 0)["n"])


@pytest.mark.parametrize(
    ("seeds", "rows", "verdict"),
    [
        ((0.1, 0.3), (0.05, 0.35), "wins"),
        ((0.1, 0.3), (-0.05, 0.45), "level"),
        ((-0.1, 0.5), (0.1, 0.3), "level"),
        ((-0.3, -0.1), (-0.4, -0.05), "pays"),
        ((0.1, 0.3), None, "wins"),
        (None, (0.1, 0.3), "unknown"),
        (None, None, "unknown"),
    ],
)
def test_a_verdict_is_what_all_intervals_say(seeds, rows, verdict):
    gain = Gain("m", "t", "auc", {1: 0.2}, 0.2, seeds, rows)
    assert gain.verdict == verdict
    widest = max((i for i in (seeds, rows) if i), key=lambda i: i[1] - i[0], default=None)
    assert gain.interval == widest
    assert Gain("m", "t", "auc", {}, float("nan"), None, None).verdict == "unknown"

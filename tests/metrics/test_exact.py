"""The exact figures against scikit-learn, group by group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score

from tfmtl.metrics import exact

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(-1, 4)), min_size=1, max_size=60)


def columns(rows):
    labels, scores, groups = np.array(rows).T
    return labels.astype("float32"), (scores / 8).astype("float32"), groups.astype("int32")


def sklearn_auc(labels, predictions):
    return roc_auc_score(labels, predictions) if len(set(labels)) == 2 else np.nan


@settings(deadline=None, max_examples=100)
@given(ROWS)
def test_auc_equals_sklearn(rows):
    labels, predictions, _ = columns(rows)
    np.testing.assert_allclose(exact.auc(labels, predictions), sklearn_auc(labels, predictions), rtol=1e-12)


@settings(deadline=None, max_examples=100)
@given(ROWS)
def test_group_auc_averages_what_sklearn_says_of_every_group(rows):
    labels, predictions, groups = columns(rows)
    known = [group for group in np.unique(groups) if group >= 0]
    areas = {group: sklearn_auc(labels[groups == group], predictions[groups == group]) for group in known}
    sizes = {group: (groups == group).sum() for group in known if not np.isnan(areas[group])}
    expected = np.average([areas[g] for g in sizes], weights=list(sizes.values())) if sizes else np.nan
    got = exact.group_auc(labels, predictions, groups)
    np.testing.assert_allclose(got.auc, expected, rtol=1e-12)
    np.testing.assert_allclose(got.group_coverage, len(sizes) / len(known) if known else np.nan)
    np.testing.assert_allclose(got.row_coverage, sum(sizes.values()) / len(rows))


def test_a_nan_prediction_shows():
    labels, predictions = np.array([0, 1, 1, 0], "float32"), np.array([0.1, np.nan, 0.6, 0.2], "float32")
    assert np.isnan(exact.auc(labels, predictions))
    assert np.isnan(exact.group_auc(labels, predictions, np.array([0, 0, 1, 1])).auc)


def test_the_means_equal_sklearn():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 2, 500).astype("float32"), rng.random(500, "float32")
    assert exact.log_loss(labels, predictions) == pytest.approx(log_loss(labels, predictions), rel=1e-6)
    assert exact.mean_squared_error(labels, predictions) == pytest.approx(
        mean_squared_error(labels, predictions), rel=1e-6
    )
    assert exact.calibration(labels, predictions) == pytest.approx(predictions.mean() / labels.mean(), rel=1e-6)


def test_undefined_is_nan():
    empty, zeros = np.zeros(0, "float32"), np.zeros(3, "float32")
    for figure in (exact.auc, exact.log_loss, exact.mean_squared_error, exact.calibration):
        assert np.isnan(figure(empty, empty))
    assert np.isnan(exact.group_auc(empty, empty, np.zeros(0, "int32"))).all()
    assert np.isnan(exact.calibration(zeros, zeros))
    assert np.isfinite(exact.log_loss(np.array([1.0, 0.0]), np.array([0.0, 1.0], "float32")))

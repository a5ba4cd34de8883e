"""Bins of equally many rows."""

import numpy as np
import pytest

from tfmtl.analysis.calibration_bins import calibration_bins

RANDOM = np.random.default_rng(0)
PREDICTIONS = RANDOM.random(1000).astype("float32")
LABELS = (RANDOM.random(1000) < PREDICTIONS).astype("float32")


def test_bins_are_equal_parts_in_the_order_of_predictions():
    bins = calibration_bins(LABELS, PREDICTIONS)
    order = np.argsort(PREDICTIONS)
    assert [each.rows for each in bins] == [100] * 10
    for each, rows in zip(bins, order.reshape(10, 100), strict=True):
        assert each.prediction == pytest.approx(PREDICTIONS[rows].mean(), abs=1e-6)
        assert each.label == pytest.approx(LABELS[rows].mean())


def test_equal_predictions_are_never_torn_apart():
    few = np.round(PREDICTIONS * 3) / 3
    bins = calibration_bins(LABELS, few)
    assert [each.prediction for each in bins] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-6)
    assert len(calibration_bins(LABELS, np.full(1000, 0.5))) == 1


def test_rows_without_label_or_weight_count_nowhere():
    labels = LABELS.copy()
    labels[::2] = np.nan
    assert calibration_bins(labels, PREDICTIONS) == calibration_bins(LABELS[1::2], PREDICTIONS[1::2])
    weights = np.zeros(1000)
    weights[PREDICTIONS > 0.5] = 1
    assert all(each.prediction > 0.49 for each in calibration_bins(LABELS, PREDICTIONS, weights))
    assert calibration_bins(np.full(3, np.nan), np.zeros(3)) == []

"""Streaming metrics that know which rows have a label."""

from tfmtl.metrics.masked_auc import MaskedAUC
from tfmtl.metrics.masked_average_precision import MaskedAveragePrecision
from tfmtl.metrics.masked_calibration import MaskedCalibration
from tfmtl.metrics.masked_calibration_error import MaskedCalibrationError
from tfmtl.metrics.masked_keras_metric import MaskedKerasMetric
from tfmtl.metrics.masked_log_loss import MaskedLogLoss
from tfmtl.metrics.masked_metric import MaskedMetric
from tfmtl.metrics.masked_normalized_entropy import MaskedNormalizedEntropy
from tfmtl.metrics.masked_root_mean_squared_error import MaskedRootMeanSquaredError
from tfmtl.metrics.one_column import OneColumn

__all__ = [
    "MaskedAUC",
    "MaskedAveragePrecision",
    "MaskedCalibration",
    "MaskedCalibrationError",
    "MaskedKerasMetric",
    "MaskedLogLoss",
    "MaskedMetric",
    "MaskedNormalizedEntropy",
    "MaskedRootMeanSquaredError",
    "OneColumn",
]

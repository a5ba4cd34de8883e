"""Streaming metrics that know which rows have a label."""

from tfmtl.metrics.masked_auc import MaskedAUC
from tfmtl.metrics.masked_calibration import MaskedCalibration
from tfmtl.metrics.masked_keras_metric import MaskedKerasMetric
from tfmtl.metrics.masked_log_loss import MaskedLogLoss
from tfmtl.metrics.masked_metric import MaskedMetric
from tfmtl.metrics.masked_root_mean_squared_error import MaskedRootMeanSquaredError

__all__ = [
    "MaskedAUC",
    "MaskedCalibration",
    "MaskedKerasMetric",
    "MaskedLogLoss",
    "MaskedMetric",
    "MaskedRootMeanSquaredError",
]

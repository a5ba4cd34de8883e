"""Losses that know which rows have a label."""

from tfmtl.losses.masked_binary_crossentropy import MaskedBinaryCrossentropy
from tfmtl.losses.masked_keras_loss import MaskedKerasLoss
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.losses.masked_mean_squared_error import MaskedMeanSquaredError

__all__ = ["MaskedBinaryCrossentropy", "MaskedKerasLoss", "MaskedLoss", "MaskedMeanSquaredError"]

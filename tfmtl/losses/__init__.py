"""Losses that know which rows have a label."""

from tfmtl.losses.class_balanced import ClassBalanced
from tfmtl.losses.coral import Coral
from tfmtl.losses.listwise_softmax import ListwiseSoftmax
from tfmtl.losses.masked_binary_crossentropy import MaskedBinaryCrossentropy
from tfmtl.losses.masked_categorical_crossentropy import MaskedCategoricalCrossentropy
from tfmtl.losses.masked_keras_loss import MaskedKerasLoss
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.losses.masked_mean_squared_error import MaskedMeanSquaredError
from tfmtl.losses.pairwise_logistic import PairwiseLogistic
from tfmtl.losses.quantile import Quantile
from tfmtl.losses.tweedie import Tweedie
from tfmtl.losses.weighted_logistic import WeightedLogistic
from tfmtl.losses.zero_inflated_log_normal import ZeroInflatedLogNormal

__all__ = [
    "ClassBalanced",
    "Coral",
    "ListwiseSoftmax",
    "MaskedBinaryCrossentropy",
    "MaskedCategoricalCrossentropy",
    "MaskedKerasLoss",
    "MaskedLoss",
    "MaskedMeanSquaredError",
    "PairwiseLogistic",
    "Quantile",
    "Tweedie",
    "WeightedLogistic",
    "ZeroInflatedLogNormal",
]

"""What `fit` needs beside a model: objectives, evaluation, distribution."""

from tfmtl.training.decaying_weight import DecayingWeight
from tfmtl.training.distribution import strategy
from tfmtl.training.evaluation import Evaluation, evaluate
from tfmtl.training.masked import masked
from tfmtl.training.objectives import objectives
from tfmtl.training.suggest_weights import SuggestedWeights, suggest_weights
from tfmtl.training.validation import Validation

__all__ = [
    "DecayingWeight",
    "Evaluation",
    "SuggestedWeights",
    "Validation",
    "evaluate",
    "masked",
    "objectives",
    "strategy",
    "suggest_weights",
]

"""What `fit` needs beside a model: objectives, evaluation, the choice of an epoch, distribution."""

from tfmtl.training.best_checkpoint import BestCheckpoint
from tfmtl.training.decaying_weight import DecayingWeight
from tfmtl.training.distribution import strategy
from tfmtl.training.evaluation import Evaluation, evaluate
from tfmtl.training.figures import FIGURES
from tfmtl.training.masked import masked
from tfmtl.training.objectives import objectives
from tfmtl.training.pareto_checkpoints import ParetoCheckpoints
from tfmtl.training.pareto_front import pareto_front
from tfmtl.training.resume import Resume
from tfmtl.training.stop_at_nan import StopAtNan
from tfmtl.training.suggest_weights import SuggestedWeights, suggest_weights
from tfmtl.training.validation import Validation

__all__ = [
    "BestCheckpoint",
    "DecayingWeight",
    "Evaluation",
    "FIGURES",
    "ParetoCheckpoints",
    "Resume",
    "StopAtNan",
    "SuggestedWeights",
    "Validation",
    "evaluate",
    "masked",
    "objectives",
    "pareto_front",
    "strategy",
    "suggest_weights",
]

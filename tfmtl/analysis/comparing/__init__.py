"""`compare`: several models and their single-task twins, over seeds."""

from tfmtl.analysis.comparing.compare import compare
from tfmtl.analysis.comparing.comparison import Comparison, Cost, Failure
from tfmtl.analysis.comparing.contestant import Contestant
from tfmtl.analysis.comparing.gain import Gain

__all__ = ["Comparison", "Contestant", "Cost", "Failure", "Gain", "compare"]

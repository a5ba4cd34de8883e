"""What a trained model did, and for whom; and whether sharing helped."""

from tfmtl.analysis.comparing import Comparison, Contestant, Gain, compare
from tfmtl.analysis.feedback_balance import FeedbackBalance

__all__ = ["Comparison", "Contestant", "FeedbackBalance", "Gain", "compare"]

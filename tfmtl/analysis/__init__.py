"""What a trained model did, and for whom; whether sharing helped, and what is in its way."""

from tfmtl.analysis.comparing import Comparison, Contestant, Gain, compare
from tfmtl.analysis.doctor import Checkup, Diagnosis, Finding, diagnose
from tfmtl.analysis.feedback_balance import FeedbackBalance

__all__ = [
    "Checkup",
    "Comparison",
    "Contestant",
    "Diagnosis",
    "FeedbackBalance",
    "Finding",
    "Gain",
    "compare",
    "diagnose",
]

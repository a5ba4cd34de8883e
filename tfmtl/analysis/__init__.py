"""What a trained model did, and for whom."""

from tfmtl.analysis.feedback_balance import FeedbackBalance

__all__ = ["FeedbackBalance"]

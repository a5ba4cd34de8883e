"""What `fit` needs beside a model: objectives, evaluation, distribution."""

from tfmtl.training.objectives import objectives

__all__ = ["objectives"]

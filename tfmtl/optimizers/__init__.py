"""Optimizers whose step follows the rows that a batch touches, not the size of the tables."""

from tfmtl.optimizers.lazy_adam import LazyAdam
from tfmtl.optimizers.row_wise_adagrad import RowWiseAdagrad
from tfmtl.optimizers.split_optimizer import SplitOptimizer, optimizer

__all__ = ["LazyAdam", "RowWiseAdagrad", "SplitOptimizer", "optimizer"]

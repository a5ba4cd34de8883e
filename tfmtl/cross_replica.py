"""Sums over the replicas of a `tf.distribute` strategy: all that losses need to know of distribution."""

from tfmtl.keras_host import BACKEND
from tfmtl.typing import Tensor


def num_replicas() -> int:
    """How many replicas compute their part of this batch at the same time."""
    if BACKEND != "tensorflow":
        return 1
    import tensorflow as tf

    return 1 if tf.distribute.in_cross_replica_context() else tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(values: Tensor) -> Tensor:
    """The sum of every replica's `values`. Only where `num_replicas()` is above 1."""
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)

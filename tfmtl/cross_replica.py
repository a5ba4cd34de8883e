"""Sums and means over the replicas of a `tf.distribute` strategy: all that losses need to know of distribution."""

from tfmtl.keras_host import BACKEND, ops
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


def share_of_mean(total: Tensor, count: Tensor) -> Tensor:
    """This replica's share of the global mean `sum(total) / sum(count)`: value `mean / replicas`, gradient that of its own rows."""
    replicas = num_replicas()
    if replicas == 1:
        return total / ops.maximum(count, 1.0)
    total_everywhere, count_everywhere = ops.unstack(sum_over_replicas(ops.stop_gradient(ops.stack([total, count]))))
    count_everywhere = ops.maximum(count_everywhere, 1.0)
    own = total / count_everywhere
    # Every replica reports the same value, so that Keras, which averages what the replicas report and weighs it by
    # their rows, logs the global mean also where a last batch splits unevenly.
    return own + ops.stop_gradient(total_everywhere / count_everywhere / replicas - own)

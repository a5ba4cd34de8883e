"""Sums and means over the replicas of a `tf.distribute` strategy: all that losses need to know of distribution."""

import contextlib
import functools
import inspect
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tfmtl.keras_host import BACKEND, LEGACY, keras, layers_of, ops
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

    with _keeping_added_losses():
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


@contextlib.contextmanager
def _keeping_added_losses() -> Iterator[None]:
    """Around a wait for the other replicas: afterwards layers hold again what they had added to the loss before.

    The replicas of a `MirroredStrategy` take turns. While one waits, the next calls the same layers, and Keras 3 keeps what
    these add (`add_loss`, `activity_regularizer`) in the layers alone: the one that waited would train by what the last one
    added. tf_keras keeps it for each replica. Who waits is not told whose step it is, so the layers are looked for among the
    callers; a step of a user's own that is neither a layer's method nor a model's is not found.
    """
    layers = [] if LEGACY else _running_layers(inspect.currentframe())
    # Those that had added nothing too: what another replica adds to them meanwhile would be counted here as well.
    kept = [(layer, list(_added_by(layer))) for layer in reversed(layers)]
    yield
    for layer, losses in kept:
        _added_by(layer)[:] = losses


def _running_layers(frame: FrameType | None) -> list[Any]:
    """The outermost layer or model of which a method is running, and all layers inside of it."""
    outermost = None
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.layers.Layer):
            outermost = owner
        frame = frame.f_back
    return [] if outermost is None else [outermost, *layers_of(outermost)]


def _added_by(layer: keras.layers.Layer) -> list[Any]:
    """The list in which a layer of Keras 3 keeps what it has added to the loss.

    Raises:
        RuntimeError: this Keras keeps it elsewhere, and the layer has added something.
    """
    if _kept_in_a_list():
        return layer._losses
    if layer.losses:
        raise RuntimeError(
            f"What layer {layer.name!r} adds to the loss cannot be kept apart for each replica: this Keras keeps it where "
            f"tfmtl does not find it. Install a Keras that tfmtl is tested with. Received: Keras {keras.__version__}"
        )
    return []


@functools.cache
def _kept_in_a_list() -> bool:
    """Whether what a layer adds is in a list that can be changed: a private name of Keras 3, so it is tried."""
    layer = keras.layers.Layer()
    layer.add_loss(ops.zeros(()))
    kept = getattr(layer, "_losses", None)
    if not isinstance(kept, list) or len(layer.losses) != len(kept) or not kept:
        return False
    kept.clear()
    return not layer.losses

"""What a training step of one's own does differently in Keras 3 and in tf_keras."""

from typing import Any

import tensorflow as tf

from tfmtl.cross_replica import num_replicas
from tfmtl.keras_host import LEGACY, keras

AVERAGES = ("auto", "sum_over_batch_size")


def loss_object(loss: Any) -> keras.losses.Loss:
    """A loss as `compile` takes it, as an object that is called with labels, predictions and sample weights."""
    found = keras.losses.get(loss)
    return found if isinstance(found, keras.losses.Loss) else _Function(found)


def share_of_loss(loss: keras.losses.Loss, value: tf.Tensor) -> tf.Tensor:
    """This replica's share of a loss. Keras 3 divides a mean by the replicas in the loss, tf_keras after it."""
    averages = LEGACY and loss.reduction in AVERAGES
    return value / num_replicas() if averages else value


def additional_loss(losses: list[tf.Tensor]) -> tf.Tensor:
    """This replica's share of regularisation and of what layers added with `add_loss`, as both hosts count them."""
    return tf.add_n([tf.reduce_sum(tf.cast(loss, "float32")) for loss in losses]) / num_replicas()


def record_loss(model: keras.Model, total: tf.Tensor, rows: tf.Tensor) -> None:
    """Adds a batch to the `loss` in the logs, which tf_keras did while it computed the loss."""
    if not LEGACY:
        trackers = [metric for metric in model.metrics if metric.name == "loss"]
        if len(trackers) != 1:
            raise RuntimeError(
                f"One metric called 'loss' was expected, which Keras makes in `compile`. Received: {trackers}"
            )
        trackers[0].update_state(total * num_replicas(), sample_weight=rows)


def loss_scale(optimizer: Any) -> tf.Tensor:
    """The factor that keeps gradients of float16 layers from vanishing; 1 where the optimizer has none."""
    one = tf.ones(())
    if LEGACY:
        return optimizer.get_scaled_loss(one) if hasattr(optimizer, "get_scaled_loss") else one
    return optimizer.scale_loss(one)


def apply_scaled(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    """Takes a step with gradients that still hold `loss_scale`."""
    if LEGACY and hasattr(optimizer, "get_unscaled_gradients"):
        gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


class _Function(keras.losses.Loss):
    """A function of labels and predictions as a loss, averaged over the batch."""

    def __init__(self, function: Any):
        super().__init__(name=getattr(function, "__name__", "loss"))
        self.function = function
        # `share_of_loss` divides by the replicas. Should tf_keras rename this, it refuses such losses under a strategy.
        self._allow_sum_over_batch_size = True

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        if y_true.shape.rank is not None and y_true.shape.rank + 1 == y_pred.shape.rank:
            y_true = tf.expand_dims(y_true, -1)
        return self.function(y_true, y_pred)

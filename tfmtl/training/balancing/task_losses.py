"""The losses of the tasks one by one, as `compile` was given them."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfmtl.cross_replica import num_replicas, sum_over_replicas
from tfmtl.training.balancing.host_step import loss_object, share_of_loss


class TaskLosses:
    """Computes each task's loss times its weight in `compile`, and says which tasks have a labelled row.

    Args:
        outputs: the names of the model's outputs.
        loss: `{task: loss}`, or one loss for every output.
        loss_weights: `{task: weight}`, or None.

    Raises:
        ValueError: no loss, a list of losses, or a loss or weight of a task that the model does not have.
    """

    def __init__(self, outputs: tuple[str, ...], loss: Any, loss_weights: Any):
        if loss is None or isinstance(loss, (list, tuple)):
            raise ValueError(
                f"A balanced model is compiled with `loss={{task: loss}}`, as `objectives` gives it. Received: loss={loss!r}"
            )
        given = loss if isinstance(loss, Mapping) else dict.fromkeys(outputs, loss)
        self.losses = {task: loss_object(own) for task, own in given.items() if own is not None}
        if loss_weights is not None and not isinstance(loss_weights, Mapping):
            raise ValueError(
                f"A balanced model is compiled with `loss_weights={{task: weight}}`. Received: loss_weights={loss_weights!r}"
            )
        self.loss_weights = dict(loss_weights or {})
        for option, named in (("loss", self.losses), ("loss_weights", self.loss_weights)):
            if unknown := sorted(set(named) - set(outputs)):
                raise ValueError(
                    f"`{option}` names tasks that the model does not predict: {unknown}. Known tasks: {list(outputs)}"
                )
        if not self.losses:
            raise ValueError(f"`loss` names no loss for any task. Received: loss={loss!r}")

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have a loss, in the order of `compile`."""
        return tuple(self.losses)

    def __call__(self, labels: Any, predictions: dict[str, tf.Tensor], sample_weight: Any) -> list[tf.Tensor]:
        """This replica's share of the weighted loss of every task."""
        if not isinstance(labels, Mapping) or (missing := sorted(set(self.losses) - set(labels))):
            had = sorted(labels) if isinstance(labels, Mapping) else type(labels).__name__
            raise ValueError(
                f"Labels of a balanced model are a dict with every task. Missing: {missing}; received: {had}"
            )
        found = []
        for task, loss in self.losses.items():
            of_task = sample_weight.get(task) if isinstance(sample_weight, Mapping) else sample_weight
            value = share_of_loss(loss, loss(labels[task], predictions[task], of_task))
            found.append(tf.cast(self.loss_weights.get(task, 1.0), "float32") * tf.cast(value, "float32"))
        return found

    def labelled(self, labels: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The number of labelled rows of every task on this replica, `(K,)` float32."""
        return tf.stack([count_labels(labels[task]) for task in self.losses])


def count_labels(labels: Any) -> tf.Tensor:
    """How many labels are not missing, that is NaN; groups of rows may stand beside them."""
    labels = tf.convert_to_tensor(labels)
    labels = labels[:, 0] if labels.shape.rank == 2 else labels
    known = ~tf.math.is_nan(labels) if labels.dtype.is_floating else tf.ones_like(labels, "bool")
    return tf.reduce_sum(tf.cast(known, "float32"))


def everywhere(values: tf.Tensor) -> tf.Tensor:
    """The sum over all replicas."""
    return sum_over_replicas(values) if num_replicas() > 1 else values

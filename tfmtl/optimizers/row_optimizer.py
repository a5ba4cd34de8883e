"""What the sparse optimizers share: unique rows, clipping and weight decay that never see a whole table."""

from typing import Any

import tensorflow as tf

from tfmtl.optimizers.host_optimizer import HostOptimizer


class RowOptimizer(HostOptimizer):
    """Base of optimizers whose step costs what the touched rows cost, however large the table.

    A gradient that arrives as `tf.IndexedSlices` (what a lookup gives) is summed over its repeated rows once; only those
    rows of the variable and of its slots are read and written. Clipping uses the norm of the summed rows, over all
    replicas. Weight decay is decoupled and acts on the rows of the step:

    ```
    w[r] = w[r] - learning_rate * weight_decay * w[r] - step[r]
    ```
    """

    def __init__(self, learning_rate: Any, **options: Any):
        for name in ("gradient_accumulation_steps", "loss_scale_factor"):
            if options.pop(name, None) is not None:
                raise ValueError(
                    f"`{name}` would make sparse gradients dense and is not supported by {type(self).__name__}"
                )
        super().__init__(learning_rate, **options)

    def update_rows(self, rows: tf.Tensor, gradient: tf.Tensor, index: int, learning_rate: tf.Tensor) -> tf.Tensor:
        """Updates the slots of unique `rows` `(U,)` with their `gradient` `(U, D)`; returns the step, `(U, D)`."""
        raise NotImplementedError

    def update_dense(self, gradient: tf.Tensor, variable: tf.Variable, index: int, learning_rate: tf.Tensor) -> None:
        """Updates a whole variable and its slots."""
        raise NotImplementedError

    def prepare(self, gradients: list[Any]) -> list[Any]:
        gradients = [sum_rows(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients]
        if self.clipnorm:
            return [tf.clip_by_norm(g, self.clipnorm) for g in gradients]
        if self.clipvalue:
            return [tf.clip_by_value(g, -self.clipvalue, self.clipvalue) for g in gradients]
        if self.global_clipnorm:
            return tf.clip_by_global_norm(gradients, self.global_clipnorm)[0]
        return gradients

    def update(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        index, rate = self.index_of(variable), tf.cast(learning_rate, variable.dtype)
        gradient = tf.cast(gradient, variable.dtype)
        decay = rate * self.weight_decay if self.weight_decay and self._use_weight_decay(variable) else None
        if not isinstance(gradient, tf.IndexedSlices):
            if decay is not None:
                variable.assign_sub(decay * variable)
            self.update_dense(gradient, variable, index, rate)
            return
        rows = gradient.indices
        step = self.update_rows(rows, gradient.values, index, rate)
        if decay is not None:
            step += decay * tf.gather(variable, rows)
        variable.scatter_sub(tf.IndexedSlices(step, rows))


def sum_rows(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """The same gradient with every row once."""
    rows, position = tf.unique(gradient.indices)
    # `scatter_nd` is faster on CPU, but XLA does not compile it for a number of rows known at run time.
    values = tf.math.unsorted_segment_sum(gradient.values, position, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)

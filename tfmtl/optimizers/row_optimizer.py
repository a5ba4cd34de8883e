"""What the sparse optimizers share: unique rows, clipping and weight decay that never see a whole table."""

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tfmtl.keras_host import raw
from tfmtl.optimizers.clipping import Clipping
from tfmtl.optimizers.host_optimizer import HostOptimizer


class RowOptimizer(HostOptimizer):
    """Base of optimizers whose step costs what the touched rows cost, however large the table.

    A gradient that arrives as `tf.IndexedSlices` (what a lookup gives) is summed over its repeated rows once; only those
    rows of the variable and of its slots are read and written. Clipping uses the norm of the summed rows, over all
    replicas. Weight decay is decoupled and acts on the rows of the step:

    ```
    w[r] = w[r] - learning_rate * weight_decay * w[r] - step[r]
    ```

    Args:
        learning_rate: a float or a `LearningRateSchedule`.
        weight_decay: float, or None for none.
        clipnorm, clipvalue, global_clipnorm: floats, as `Clipping` takes them.
        options: of `HostOptimizer`.

    Raises:
        ValueError: more than one way to clip, or an option that needs dense gradients.
    """

    def __init__(
        self,
        learning_rate: Any,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        **options: Any,
    ):
        for name in ("gradient_accumulation_steps", "loss_scale_factor"):
            if options.pop(name, None) is not None:
                raise ValueError(
                    f"`{name}` would make sparse gradients dense and is not supported by {type(self).__name__}"
                )
        super().__init__(learning_rate, **options)
        self.clipping = Clipping(clipnorm, clipvalue, global_clipnorm)
        self.decay = weight_decay
        self._undecayed: frozenset[Any] = frozenset()
        self._undecayed_names: tuple[str, ...] = ()

    def update_rows(self, rows: tf.Tensor, gradient: tf.Tensor, place: int, learning_rate: tf.Tensor) -> tf.Tensor:
        """Updates the slots of unique `rows` `(U,)` with their `gradient` `(U, D)`; returns the step, `(U, D)`."""
        raise NotImplementedError

    def update_dense(self, gradient: tf.Tensor, variable: tf.Variable, place: int, learning_rate: tf.Tensor) -> None:
        """Updates a whole variable and its slots."""
        raise NotImplementedError

    def prepare(self, gradients: list[Any]) -> list[Any]:
        return self.clipping([sum_rows(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients])

    @property
    def needs_all_gradients(self) -> bool:
        return bool(self.clipping.global_clipnorm)

    def update(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        place, dtype = self.index.place_of(variable), variable.dtype
        rate = self.once_a_step(("rate", dtype), lambda: tf.cast(learning_rate, dtype))
        gradient = tf.cast(gradient, dtype)
        decay = rate * self.decay if self.decay and self._decays(place) else None
        if not isinstance(gradient, tf.IndexedSlices):
            if decay is not None:
                variable.assign_sub(decay * variable)
            self.update_dense(gradient, variable, place, rate)
            return
        rows = gradient.indices
        step = self.update_rows(rows, gradient.values, place, rate)
        if decay is not None:
            step += decay * tf.gather(variable, rows)
        variable.scatter_sub(tf.IndexedSlices(step, rows))

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leaves variables out of the decay: those of `var_list`, and those in whose name a pattern of `var_names` is found.

        Keras keeps its own list where no subclass can read it.
        """
        if self.index.variables:
            raise ValueError(
                "`exclude_from_weight_decay` must be called before the optimizer is built. Received: a built one"
            )
        self._undecayed = frozenset(raw(variable).ref() for variable in var_list or ())
        self._undecayed_names = tuple(var_names or ())

    def _decays(self, place: int) -> bool:
        """Whether the variable at `place` is subject to weight decay."""
        variable = raw(self.index.variables[place])
        named = any(re.search(pattern, variable.name) for pattern in self._undecayed_names)
        return not named and variable.ref() not in self._undecayed

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight_decay": self.decay, **dataclasses.asdict(self.clipping)}


def sum_rows(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """The same gradient with every row once."""
    rows, position = tf.unique(gradient.indices)
    # `scatter_nd` is faster on CPU, but XLA does not compile it for a number of rows known at run time.
    values = tf.math.unsorted_segment_sum(gradient.values, position, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)

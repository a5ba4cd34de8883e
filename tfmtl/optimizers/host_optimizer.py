"""The optimizer base of either Keras, under one set of names."""

import contextlib
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tfmtl.keras_host import BACKEND, LEGACY, keras
from tfmtl.optimizers.step_cache import StepCache
from tfmtl.optimizers.variable_index import VariableIndex


class HostOptimizer(keras.optimizers.Optimizer):
    """The optimizer base of either host, under one set of names.

    A subclass adds its slots in `create_slots`, may change the gradients in `prepare`, and changes variables in `update`.
    Clipping and weight decay are the subclass's too and are not handed on to Keras: Keras 3 clips what one replica sees,
    and both hosts decay whole tables.

    Args:
        learning_rate: a float or a `LearningRateSchedule`.
        options: what both hosts take: `name`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`.
    """

    gradients_are_ready = False
    """Whether what `update_step` is given went through `prepare`: true within a step, once it did."""

    def __init__(self, learning_rate: Any, **options: Any):
        if BACKEND != "tensorflow":
            raise ImportError(
                f"`{type(self).__name__}` needs the TensorFlow backend, the one with sparse gradients. "
                f"Received: KERAS_BACKEND={BACKEND}"
            )
        if LEGACY:
            # A decay of 0, its default, would be a pass over every table.
            super().__init__(**{**options, "weight_decay": None, "jit_compile": False})
            self._learning_rate = self._build_learning_rate(learning_rate)  # asked of every optimizer by tf_keras
        else:
            super().__init__(learning_rate=learning_rate, **options)
        self.strategy = tf.distribute.get_strategy()  # of the scope that the variables are made in, too
        self.once_a_step = StepCache()
        self.index = VariableIndex((), self.strategy)  # filled by `build`

    def create_slots(self, variables: list[Any]) -> None:
        """Makes the slots of `variables`, with `add_slot`. Called once."""

    def prepare(self, gradients: list[Any]) -> list[Any]:
        """What to apply, given gradients that are summed over all replicas: of all variables, or of one alone."""
        return gradients

    @property
    def needs_all_gradients(self) -> bool:
        """Whether `prepare` must see the gradients of all variables at once."""
        return False

    def update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Applies a prepared gradient to `variable`, a TensorFlow variable."""
        raise NotImplementedError

    def add_slot(self, variable: Any, name: str, shape: tuple[int, ...] | None = None, value: float = 0.0) -> Any:
        """A variable beside `variable`, filled with `value`; of the same shape if none is given."""
        if LEGACY:
            shape = tuple(variable.shape) if shape is None else shape
            filled = keras.initializers.Constant(value)(shape, variable.dtype)
            return self.add_variable_from_reference(variable, name, initial_value=filled)
        initializer = keras.initializers.Constant(value)
        if shape is None:
            return self.add_variable_from_reference(variable, name, initializer)
        path = variable.path.replace("/", "_")
        return self.add_variable(shape, initializer, variable.dtype, name=f"{path}_{name}")

    def build(self, variables: list[Any]) -> None:
        if self.index.variables:
            return
        with _outside_of_the_graph():
            super().build(variables)
            self.create_slots(variables)
        self.index = VariableIndex(variables, self.strategy)
        if LEGACY:
            self._built = True  # asked of every optimizer by tf_keras, whose `set_weights` refuses without it

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]], *arguments: Any, **options: Any) -> Any:
        """Sums over the replicas, prepares and applies. Keras 3 does all of it in `apply`."""
        if not LEGACY:
            return super().apply_gradients(grads_and_vars)
        return self._apply_on_tf_keras(list(grads_and_vars), *arguments, **options)

    def _apply_on_tf_keras(
        self,
        pairs: list[tuple[Any, Any]],
        name: str | None = None,
        skip_gradients_aggregation: bool = False,
        experimental_aggregate_gradients: bool = True,
    ) -> Any:
        """`tf_keras.optimizers.Optimizer.apply_gradients`, with `prepare` where the gradients are summed over replicas."""
        if experimental_aggregate_gradients and not skip_gradients_aggregation:
            pairs = self.aggregate_gradients(pairs)
        given = [gradient for gradient, _ in pairs if gradient is not None]
        prepared = iter(self.prepare(given) if given else [])
        pairs = [(None if gradient is None else next(prepared), variable) for gradient, variable in pairs]
        self.gradients_are_ready = True
        try:
            with self.once_a_step.step(), _after(gradient for gradient, _ in pairs):
                return super().apply_gradients(pairs, name=name, skip_gradients_aggregation=True)
        finally:
            self.gradients_are_ready = False

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Keras 3's way in."""
        grads = list(grads)
        try:
            with self.once_a_step.step(), _after(grads):
                super().apply(grads, trainable_variables)
        finally:
            self.gradients_are_ready = False

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any = None) -> None:
        """Applies the gradient of one variable, summed over replicas. What nobody has prepared is prepared here."""
        if not self.gradients_are_ready:
            if self.needs_all_gradients:
                raise RuntimeError(
                    f"`{type(self).__name__}` needs the gradients of all variables at once, as for `global_clipnorm`, and "
                    f"was given that of {variable.name} alone. Call `apply_gradients`; if it was called, this Keras no "
                    "longer calls `_all_reduce_sum_gradients`: clip with `clipnorm` or `clipvalue`, or install a Keras "
                    f"that tfmtl is tested with. Received: Keras {keras.__version__}"
                )
            (gradient,) = self.prepare([gradient])
        self.update(gradient, variable, self.learning_rate if learning_rate is None else learning_rate)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[tuple[Any, Any]]:
        """A private step of Keras 3, the only one where all gradients are there and summed over the replicas.

        `update_step` notices where it is not called.
        """
        pairs = super()._all_reduce_sum_gradients(grads_and_vars)
        if not self.needs_all_gradients:
            return pairs
        prepared = self.prepare([gradient for gradient, _ in pairs])
        self.gradients_are_ready = True
        return list(zip(prepared, [variable for _, variable in pairs], strict=True))

    def _deduplicate_sparse_grad(self, grads: Any) -> Any:
        """A private step of tf_keras, which would sum repeated rows a second time. Without it a step is only slower."""
        return grads

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if LEGACY:
            rate, schedules = self._learning_rate, keras.optimizers.schedules
            scheduled = isinstance(rate, schedules.LearningRateSchedule)
            config["learning_rate"] = schedules.serialize(rate) if scheduled else rate.numpy()
        return config


def _outside_of_the_graph() -> contextlib.AbstractContextManager[Any]:
    """Variables that Keras 3 makes while it traces the first step take 20 ms each; made eagerly they take one.

    Under a strategy Keras makes them before it traces, and a replica could not make them eagerly.
    """
    return contextlib.nullcontext() if tf.distribute.has_strategy() else tf.init_scope()


def _after(gradients: Iterable[Any]) -> Any:
    """Where operations wait for a gradient, and so for a batch.

    Data of unknown length end in the middle of a step. By then a graph would have counted it, and weights would have decayed.
    """
    if BACKEND != "tensorflow":
        return contextlib.nullcontext()
    return tf.control_dependencies([gradient for gradient in gradients if gradient is not None][-1:])

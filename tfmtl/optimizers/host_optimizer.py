"""The optimizer base of either Keras, under one set of names."""

import contextlib
from typing import Any

from tfmtl.keras_host import BACKEND, LEGACY, keras


class HostOptimizer(keras.optimizers.Optimizer):
    """The optimizer base of either host, under one set of names.

    A subclass adds its slots in `create_slots`, may change the gradients in `prepare`, and changes variables in `update`.
    Clipping and weight decay are the subclass's too: Keras 3 clips what one replica sees, and both hosts decay whole tables.

    Args:
        learning_rate: a float or a `LearningRateSchedule`.
        options: what both hosts take: `name`, `weight_decay`, `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`,
            `ema_momentum`, `ema_overwrite_frequency`.
    """

    def __init__(self, learning_rate: Any, **options: Any):
        if BACKEND != "tensorflow":
            raise ImportError(
                f"`{type(self).__name__}` needs the TensorFlow backend, the one with sparse gradients. "
                f"Received: KERAS_BACKEND={BACKEND}"
            )
        if LEGACY:
            super().__init__(**{**options, "jit_compile": False})
            self._learning_rate = self._build_learning_rate(learning_rate)
        else:
            super().__init__(learning_rate=learning_rate, **options)

    def create_slots(self, variables: list[Any]) -> None:
        """Makes the slots of `variables`, with `add_slot`. Called once."""

    def prepare(self, gradients: list[Any]) -> list[Any]:
        """The gradients to apply, given their sums over all replicas."""
        return gradients

    def update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Applies a gradient to `variable`, a TensorFlow variable."""
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

    def index_of(self, variable: Any) -> int:
        """The place of `variable` among those that `create_slots` was given."""
        return self._index_dict[self._var_key(variable)] if LEGACY else self._get_variable_index(variable)

    def build(self, variables: list[Any]) -> None:
        done = "_built" if LEGACY else "built"
        if getattr(self, done, False):
            return
        with _outside_of_the_graph():
            super().build(variables)
            self.create_slots(variables)
        setattr(self, done, True)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any = None) -> None:
        self.update(gradient, variable, self.learning_rate if learning_rate is None else learning_rate)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[tuple[Any, Any]]:
        """Keras 3's last step before the updates."""
        pairs = super()._all_reduce_sum_gradients(grads_and_vars)
        return list(zip(self.prepare([gradient for gradient, _ in pairs]), [v for _, v in pairs], strict=True))

    def _deduplicate_sparse_grad(self, grads: Any) -> list[Any]:
        """tf_keras's last step before the updates."""
        return self.prepare(list(grads))

    def _clip_gradients(self, grads: Any) -> Any:
        return grads

    def _apply_weight_decay(self, variables: Any) -> None:
        pass

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if LEGACY:
            config["learning_rate"] = self._serialize_hyperparameter(self._learning_rate)
        return config


def _outside_of_the_graph() -> contextlib.AbstractContextManager[Any]:
    """Variables that Keras 3 makes while it traces the first step take 20 ms each; made eagerly they take one.

    Under a strategy Keras makes them before it traces, and a replica could not make them eagerly.
    """
    import tensorflow as tf

    return contextlib.nullcontext() if tf.distribute.has_strategy() else tf.init_scope()

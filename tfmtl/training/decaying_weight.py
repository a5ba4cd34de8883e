"""A loss weight that changes while `fit` runs."""

from typing import Any

from tfmtl.keras_host import register
from tfmtl.typing import Tensor


@register
class DecayingWeight:
    """A loss weight that decays with the optimizer's steps.

    ```
    w(t) = weight * decay^t        t = optimizer.iterations // decay_steps
    ```

    The optimizer's own counter is the clock, as it is for a learning rate schedule: it advances in training only, it is
    saved with the optimizer, and `fit` resumed with `Resume` goes on where it stopped.

    Args:
        weight: the weight at the start.
        decay: the factor from one `t` to the next.
        decay_steps: optimizer steps for which the weight stays the same.
        optimizer: whose steps count; the one given to `compile`. A weight loaded with a model has none: see Raises.

    Raises:
        ValueError: when a loaded model trains or evaluates with it. A file cannot tell which optimizer will train, so
            such a model has to be compiled again.
    """

    def __init__(self, weight: float, decay: float, decay_steps: int, optimizer: Any = None):
        self.weight = weight
        self.decay = decay
        self.decay_steps = decay_steps
        self.optimizer = optimizer

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Tensor:
        """The weight of this step: TensorFlow reads it wherever a tensor is expected."""
        import tensorflow as tf

        if self.optimizer is None:
            raise ValueError(
                "The loss weights of this model decay with the steps of an optimizer that it no longer knows. Compile it "
                "again: model.compile(model.optimizer, **objectives(tasks, optimizer=model.optimizer, decay_steps=...))"
            )
        periods = tf.cast(tf.convert_to_tensor(self.optimizer.iterations) // self.decay_steps, "float32")
        return tf.cast(self.weight * self.decay**periods, dtype or "float32", name=name)

    def get_config(self) -> dict[str, Any]:
        return {"weight": self.weight, "decay": self.decay, "decay_steps": self.decay_steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DecayingWeight":
        return cls(**config)

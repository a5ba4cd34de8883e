"""Clipping of gradients that are summed over replicas and over repeated rows."""

import dataclasses
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Clipping:
    """At most one of Keras's three ways to clip; a gradient of a table may be `tf.IndexedSlices` with each row once.

    Args:
        clipnorm: float, the largest norm of the gradient of one variable.
        clipvalue: float, the largest absolute value of an element.
        global_clipnorm: float, the largest norm of the gradients of all variables together.

    Raises:
        ValueError: more than one of them.
    """

    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                f"Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be given. Received: {given}"
            )

    def __call__(self, gradients: list[Any]) -> list[Any]:
        """The gradients, clipped. `global_clipnorm` takes those of all variables at once."""
        if self.clipnorm:
            return [tf.clip_by_norm(g, self.clipnorm) for g in gradients]
        if self.clipvalue:
            return [tf.clip_by_value(g, -self.clipvalue, self.clipvalue) for g in gradients]
        if self.global_clipnorm:
            return tf.clip_by_global_norm(gradients, self.global_clipnorm)[0]
        return gradients

"""One number to rank by, made of the predictions of several tasks."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from typing import Any, Literal, TypeAlias

import tensorflow as tf

from tfmtl.checks import check_option
from tfmtl.typing import Predictions, Tensor

Form: TypeAlias = Literal["product", "log"]

SCORE = "score"
"""The output that holds the score."""

LOWEST = 1e-7
"""A prediction below counts as this: neither form is defined for values that are not positive."""


@dataclass(frozen=True)
class Score:
    """Fuses the predictions of several tasks.

    ```
    form="product":  score = prod_t p_t ^ w_t
    form="log":      score = sum_t w_t log p_t
    ```

    Both rank alike; the logarithm keeps apart what a product of small probabilities no longer can.

    Args:
        weights: `{task: w_t}`; tasks that are left out do not count.
        form: the formula.
        at_request: whether the `rank` signature also takes the weights, as inputs `{task}_weight`, each `(1,)`. Those given
            here are their defaults (TensorFlow Serving fills them in for gRPC; REST requests must name every input).

    Raises:
        ValueError: no weight, one that is not finite, or an unknown form.

    Example:

    >>> from tfmtl.exporting import Score
    >>> Score({"click": 1.0, "watch": 0.5})
    Score(weights=(('click', 1.0), ('watch', 0.5)), form='product', at_request=False)

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, equation 1, without its factor for the video's
        length: a function of an input, not of a prediction.
    """

    weights: tuple[tuple[str, float], ...]
    _: KW_ONLY
    form: Form = "product"
    at_request: bool = False

    def __init__(self, weights: Mapping[str, float], *, form: Form = "product", at_request: bool = False):
        object.__setattr__(self, "weights", tuple((task, float(weight)) for task, weight in dict(weights).items()))
        object.__setattr__(self, "form", form)
        object.__setattr__(self, "at_request", at_request)
        if not self.weights or not all(isfinite(weight) for _, weight in self.weights):
            raise ValueError(f"`weights` must give one task or more a finite weight. Received: weights={weights}")
        check_option("form", form, Form)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that count."""
        return tuple(task for task, _ in self.weights)

    @property
    def inputs(self) -> dict[str, float]:
        """The inputs that take weights at request time, with their defaults."""
        return {f"{task}_weight": weight for task, weight in self.weights} if self.at_request else {}

    def __call__(self, predictions: Predictions, given: Mapping[str, Tensor] | None = None) -> Tensor:
        """The score `(B, 1)`, with the weights `given` by input name in place of the fixed ones."""
        logs = []
        for task, weight in self.weights:
            chosen = (given or {}).get(f"{task}_weight", weight)
            logs.append(chosen * tf.math.log(tf.maximum(predictions[task], LOWEST)))
        total = tf.add_n(logs)
        return tf.exp(total) if self.form == "product" else total

    def to_dict(self) -> dict[str, Any]:
        """The score as JSON types."""
        return {"form": self.form, "weights": dict(self.weights), "at_request": self.at_request}

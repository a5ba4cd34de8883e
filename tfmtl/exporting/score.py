"""One number to rank by, made of the predictions of several tasks."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from typing import Any, Literal, TypeAlias

import tensorflow as tf

from tfmtl.checks import check_option
from tfmtl.typing import Predictions, Tensor

Form: TypeAlias = Literal["product", "log", "sum"]

SCORE = "score"
"""The output that holds the score."""

LOWEST = 1e-7
"""A probability below counts as this: products of powers and logarithms are not defined for values that are not positive."""


@dataclass(frozen=True)
class Score:
    """Fuses the predictions of several tasks into one number to rank by, which an export gives as `score`.

    ```
    form="product":  score = prod_t p_t ^ w_t
    form="log":      score = sum_t w_t log p_t
    form="sum":      score = sum_t w_t p_t
    ```

    The first two rank alike; the logarithm keeps apart what a product of small probabilities no longer can. Both want
    positive values: a probability below 1e-7 counts as that. A regression may predict anything, so it needs a floor of its
    own there, or `"sum"`.

    Args:
        weights: `{task: w_t}`; tasks that are left out do not count.
        form: the formula.
        floors: `{task: value}`, above 0: a prediction below counts as that, in `"product"` and `"log"`.
        at_request: whether the `rank` signature also takes the weights, as inputs `{task}_weight`, each `(1,)`. Those given
            here are their defaults (TensorFlow Serving fills them in for gRPC; REST requests must name every input).

    Raises:
        ValueError: no weight, one that is not finite, an unknown form, or a floor that is not above 0, of a task without
            weight or in a sum. `export` refuses a product or logarithm of a regression without a floor.

    Example:

    >>> from tfmtl.exporting import Score
    >>> Score({"click": 1.0, "watch": 0.5}, floors={"watch": 1.0})
    Score(weights=(('click', 1.0), ('watch', 0.5)), form='product', at_request=False, floors=(('watch', 1.0),))

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, equation 1, without its factor for the video's
        length: a function of an input, not of a prediction.
    """

    weights: tuple[tuple[str, float], ...]
    _: KW_ONLY
    form: Form = "product"
    at_request: bool = False
    floors: tuple[tuple[str, float], ...] = ()

    def __init__(
        self,
        weights: Mapping[str, float],
        *,
        form: Form = "product",
        at_request: bool = False,
        floors: Mapping[str, float] | None = None,
    ):
        object.__setattr__(self, "weights", tuple((task, float(weight)) for task, weight in dict(weights).items()))
        object.__setattr__(self, "form", form)
        object.__setattr__(self, "at_request", at_request)
        object.__setattr__(self, "floors", tuple((task, float(value)) for task, value in dict(floors or {}).items()))
        if not self.weights or not all(isfinite(weight) for _, weight in self.weights):
            raise ValueError(f"`weights` must give one task or more a finite weight. Received: weights={weights}")
        check_option("form", form, Form)
        fits = all(isfinite(value) and value > 0 and task in self.tasks for task, value in self.floors)
        if not fits or (self.floors and form == "sum"):
            raise ValueError(
                "`floors` must be above 0, of tasks that have a weight, and a sum needs none. "
                f"Received: floors={floors}, weights={weights}, form={form!r}"
            )

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
        parts, floors = [], dict(self.floors)
        for task, weight in self.weights:
            chosen = (given or {}).get(f"{task}_weight", weight)
            value = predictions[task]
            if self.form != "sum":
                value = tf.math.log(tf.maximum(value, floors.get(task, LOWEST)))
            parts.append(chosen * value)
        total = tf.add_n(parts)
        return tf.exp(total) if self.form == "product" else total

    def to_dict(self) -> dict[str, Any]:
        """The score as JSON types."""
        described = {"form": self.form, "weights": dict(self.weights), "at_request": self.at_request}
        return described | ({"floors": dict(self.floors)} if self.floors else {})

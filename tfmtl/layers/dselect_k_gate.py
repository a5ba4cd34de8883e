"""A gate that chooses a few experts, and can be trained by gradients."""

import math
from typing import Any

import numpy as np

from tfmtl.checks import check_count
from tfmtl.cross_replica import num_replicas, share_of_mean
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import Tensor

EPSILON = 1e-6
"""Beside what logarithms and quotients are taken of, as in the authors' code."""


@register_layer
class DSelectKGate(keras.layers.Layer):
    """Gives weights to `num_selected` candidates at most, each chosen by a selector that writes its number in binary.

    ```
    s(z)  = smooth_step(z) = 0 for z <= -gamma/2, 1 for z >= gamma/2, -2 z^3 / gamma^3 + 3 z / (2 gamma) + 1/2 between
    r_j,i = prod_b s(z_j,b) where digit b of i is 1, 1 - s(z_j,b) where it is 0          j = 1 .. num_selected
    w_i   = sum_j softmax(a)_j r_j,i
    loss += entropy * mean_rows(sum_j -sum_i r_j,i log r_j,i) + mean_rows(sum_j (1 / sum_i r_j,i - 1))
    ```

    `z` and `a` are linear in the row, or the same for all rows. Once a selector's digits have left the slope of `s`, it
    chooses one candidate and its weight is exactly 1; the entropy draws it there. The second loss is there only where the
    number of candidates is no power of two: it keeps selectors off the numbers that no candidate has, and until it has,
    weights sum to less than 1. Both losses are added in training alone; under replicas they are means over the rows of the
    global batch.

    Args:
        num: candidates, two or more.
        num_selected: selectors, the paper's k.
        gamma: width of the slope of the smooth step.
        entropy: factor of the entropy.
        per_row: whether each row chooses for itself; otherwise a choice is learned for all rows.

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, num)`, computed in float32 under every policy, returned in the layer's compute dtype.

    Raises:
        ValueError: fewer than two candidates, no selector, a `gamma` that is not above 0 or a negative `entropy`.

    Example:

    >>> import keras
    >>> from tfmtl.layers import DSelectKGate
    >>> tuple(DSelectKGate(8, num_selected=2)(keras.random.normal((4, 100))).shape)
    (4, 8)

    Reference:
        Hazimeh et al., "DSelect-k: Differentiable Selection in the Mixture of Experts with Applications to Multi-Task
        Learning", NeurIPS 2021, arXiv:2106.03760, and the authors' code, whose initial values and penalties these are; it
        sums the penalties over the rows of a batch, here they are means, and the second is 0 where it has its way.
    """

    def __init__(
        self,
        num: int,
        *,
        num_selected: int = 2,
        gamma: float = 1.0,
        entropy: float = 1e-6,
        per_row: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num = check_count("num", num, least=2)
        self.num_selected = check_count("num_selected", num_selected)
        if not gamma > 0:
            raise ValueError(f"`gamma` must be > 0. Received: gamma={gamma}")
        if not entropy >= 0:
            raise ValueError(f"`entropy` must be >= 0. Received: entropy={entropy}")
        self.gamma = gamma
        self.entropy = entropy
        self.per_row = per_row
        self.num_digits = math.ceil(math.log2(self.num))

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 2:
            raise ValueError(f"The input must be (B, D). Received: shape={tuple(input_shape)}")
        digits, selectors = self.num_selected * self.num_digits, self.num_selected
        flat = keras.initializers.RandomUniform(-self.gamma / 100, self.gamma / 100)
        if self.per_row:
            width = input_shape[-1]
            self.digit_kernel = self.add_weight(name="digit_kernel", shape=(width, digits), initializer=flat)
            self.selector_kernel = self.add_weight(
                name="selector_kernel", shape=(width, selectors), initializer=keras.initializers.RandomUniform()
            )
        start = keras.initializers.RandomUniform(-self.gamma / 100, self.gamma / 100)
        self.digit_bias = self.add_weight(name="digit_bias", shape=(digits,), initializer=start)
        self.selector_bias = self.add_weight(
            name="selector_bias", shape=(selectors,), initializer=keras.initializers.RandomUniform()
        )
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        rows = ops.cast(x, "float32")
        choices = self._choices(rows)  # r: (B, K, N)
        weights = ops.softmax(self._linear(rows, "selector"), axis=-1)  # (B, K)
        if training:
            self._punish(choices)
        return ops.cast(ops.sum(ops.expand_dims(weights, -1) * choices, axis=1), self.compute_dtype)

    def _linear(self, rows: Tensor, which: str) -> Tensor:
        """The logits of digits or selectors, a row of them for each row."""
        bias = ops.cast(getattr(self, f"{which}_bias"), "float32")
        if self.per_row:
            return ops.matmul(rows, ops.cast(getattr(self, f"{which}_kernel"), "float32")) + bias
        return ops.zeros_like(rows[:, :1]) + bias

    def _choices(self, rows: Tensor) -> Tensor:
        z = ops.reshape(self._linear(rows, "digit"), (-1, self.num_selected, 1, self.num_digits)) / self.gamma
        z = ops.clip(z, -0.5, 0.5)  # where the polynomial is 0 and 1
        ones = -2.0 * z * z * z + 1.5 * z + 0.5
        codes = digits_of(self.num)  # (N, digits)
        return ops.prod(codes * ones + (1.0 - codes) * (1.0 - ones), axis=-1)

    def _punish(self, choices: Tensor) -> None:
        loss = -self.entropy * ops.sum(choices * ops.log(choices + EPSILON))
        if self.num & (self.num - 1):
            loss = loss + ops.sum(1.0 / (ops.sum(choices, axis=-1) + EPSILON) - 1.0)
        loss = share_of_mean(loss, ops.cast(ops.shape(choices)[0], "float32"))
        # Keras takes the mean over replicas of what layers add.
        self.add_loss(ops.cast(loss * num_replicas(), keras.backend.floatx()))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0], self.num)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num": self.num,
            "num_selected": self.num_selected,
            "gamma": self.gamma,
            "entropy": self.entropy,
            "per_row": self.per_row,
        }


def digits_of(num: int) -> np.ndarray:
    """The binary digits of 0 .. num - 1, the first one first, `(num, digits)` float32."""
    places = np.arange(math.ceil(math.log2(num)))[::-1]
    return (np.arange(num)[:, None] >> places & 1).astype("float32")

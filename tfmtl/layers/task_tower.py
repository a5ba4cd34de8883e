"""The last layers of one task."""

import math
from collections.abc import Sequence
from typing import Any

from tfmtl.checks import check_option
from tfmtl.keras_host import keras, ops, register_freezable
from tfmtl.layers.mlp import MLP
from tfmtl.typing import TaskKind, Tensor

LARGEST_LOGIT = 16.0
"""How far training goes along a sigmoid. In float32 that is 1 from 17 on, without a slope; at 16 a probability still lies
inside of what cross-entropies clip to (`masked_rows.EPSILON`), so its slope and theirs multiply to 1."""


@register_freezable
class TaskTower(keras.layers.Layer):
    """Turns a task's representation into its prediction.

    ```
    y = link(MLP(x) W + b)        link: sigmoid for a binary task, identity for a regression
    ```

    In training a logit counts as within +-16 and still learns beyond: a confident mistake has the slope of any mistake,
    where that of the float32 sigmoid itself is lost in rounding. Such a probability is at most 1.2e-7 off; inference gives
    the exact one.

    Args:
        units: hidden layers; none leaves the last layer alone.
        kind: `"binary"` or `"regression"`.
        activation: of the hidden layers.
        dropout: share of hidden units set to zero in training.
        batch_norm: normalise after each hidden layer's activation.
        base_rate: the share of positives of a binary task, for `b` to start at its logit: training then has not to find out
            first that a conversion is rare. None starts `b` at 0, a rate of a half.

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, 1)`, float32 under every policy: a float16 sigmoid is 0 below 6e-8 and its cross-entropy infinite.

    Raises:
        ValueError: an unknown kind, a `base_rate` outside (0, 1) or of a regression, or what `MLP` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.layers import TaskTower
    >>> tuple(TaskTower([64])(keras.random.normal((8, 100))).shape)
    (8, 1)
    """

    def __init__(
        self,
        units: int | Sequence[int] = (64,),
        *,
        kind: TaskKind = "binary",
        activation: Any = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        base_rate: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_option("kind", kind, TaskKind)
        if base_rate is not None and not (kind == "binary" and 0 < base_rate < 1):
            raise ValueError(
                f"`base_rate` must be in (0, 1), of a binary task. Received: base_rate={base_rate} for kind={kind!r}"
            )
        self.kind = kind
        self.base_rate = base_rate
        self.hidden = MLP(units, activation=activation, dropout=dropout, batch_norm=batch_norm, dtype=self.dtype_policy)
        start = 0.0 if base_rate is None else math.log(base_rate / (1 - base_rate))
        self.output_layer = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(start), dtype="float32")

    def build(self, input_shape: Any) -> None:
        self.hidden.build(input_shape)
        self.output_layer.build(self.hidden.compute_output_shape(input_shape))
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        logits = self.logits(x, training=training)
        if self.kind != "binary":
            return logits
        return ops.sigmoid(_bounded(logits) if training else logits)

    def logits(self, x: Tensor, training: bool | None = None) -> Tensor:
        """The prediction before the link, `(B, 1)` float32."""
        return self.output_layer(ops.cast(self.hidden(x, training=training), "float32"))

    def get_config(self) -> dict[str, Any]:
        hidden = self.hidden.get_config()
        options = {key: hidden[key] for key in ("units", "activation", "dropout", "batch_norm")}
        return {**super().get_config(), **options, "kind": self.kind, "base_rate": self.base_rate}


def _bounded(logits: Tensor) -> Tensor:
    """`logits` within `LARGEST_LOGIT`, with a slope of 1 everywhere."""
    bounded = ops.stop_gradient(ops.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT))
    return bounded + (logits - ops.stop_gradient(logits))  # + 0, by which the gradient passes

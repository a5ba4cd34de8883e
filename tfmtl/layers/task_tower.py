"""The last layers of one task."""

import math
from collections.abc import Sequence
from typing import Any

from tfmtl.checks import check_option
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.mlp import MLP
from tfmtl.typing import TaskKind, Tensor

LARGEST_LOGIT = 16.0
"""How far training goes along a sigmoid. In float32 that is 1 from 17 on, without a slope; at 16 a probability still lies
inside of what cross-entropies clip to (`masked_rows.EPSILON`), so its slope and theirs multiply to 1."""


@register_layer
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
        label_mean: the mean of the labels, of a binary task its base rate, for the prediction to start at: training then
            has not to find out first that a conversion is rare, or that people watch for 40 seconds. None starts `b` at 0,
            which is a probability of one half.

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, 1)`, float32 under every policy: a float16 sigmoid is 0 below 6e-8 and its cross-entropy infinite.

    Raises:
        ValueError: an unknown kind, a `label_mean` of a binary task outside (0, 1) or one that is not finite, or what
            `MLP` refuses.

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
        label_mean: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_option("kind", kind, TaskKind)
        if label_mean is not None and not (0 < label_mean < 1 if kind == "binary" else math.isfinite(label_mean)):
            bounds = "in (0, 1)" if kind == "binary" else "finite"
            raise ValueError(
                f"`label_mean` of a {kind} task must be {bounds}. Received: label_mean={label_mean} for kind={kind!r}"
            )
        self.kind = kind
        self.label_mean = label_mean
        options = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm, "dtype": self.dtype_policy}
        self.hidden = MLP(units, name="hidden", **options)
        start = 0.0 if label_mean is None else label_mean
        if label_mean is not None and kind == "binary":
            start = math.log(label_mean / (1 - label_mean))
        self.output_layer = keras.layers.Dense(
            1, bias_initializer=keras.initializers.Constant(start), dtype="float32", name="output"
        )

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
        return {**super().get_config(), **options, "kind": self.kind, "label_mean": self.label_mean}


def _bounded(logits: Tensor) -> Tensor:
    """`logits` within `LARGEST_LOGIT`, with a slope of 1 everywhere."""
    bounded = ops.stop_gradient(ops.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT))
    return bounded + (logits - ops.stop_gradient(logits))  # + 0, by which the gradient passes

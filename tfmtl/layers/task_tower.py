"""The last layers of one task."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfmtl.checks import check_option
from tfmtl.initializers import starting_at
from tfmtl.keras_host import add_uncast, keras, ops, register_layer
from tfmtl.layers.mlp import MLP
from tfmtl.layers.output_links import can_start_at, predict, raw_width, start_of
from tfmtl.outputs import Output, output_of_kind
from tfmtl.typing import TaskKind, Tensor


@register_layer
class TaskTower(keras.layers.Layer):
    """Turns a task's representation into its prediction.

    ```
    y = link(MLP(x) W + b)        link: sigmoid for a binary task, identity for a regression, softmax for a multiclass one
    ```

    Other outputs (`tfmtl.outputs.Output`, which `Task.output` gives) have links of their own:

    ```
    positive        exp(r)
    ordered         P(y <= k) = sigmoid(t_k - MLP(x) w),    t_{k+1} = t_k + softplus(d_k)      learned thresholds, one score
    quantiles       the middle one r_m;  r_m + softplus(r_{m+1}) + ... above it, r_m - softplus(r_{m-1}) - ... below
    zero_inflated   [p exp(r_1 + s^2 / 2), p, s],           p = sigmoid(r_0),  s = softplus(r_2) + 0.001
    ```

    In training a logit counts as within +-16 (that of a class, as at most 16 below the largest) and still learns beyond: a
    confident mistake has the slope of any mistake, where that of the float32 sigmoid itself is lost in rounding. Such a
    probability is at most 1.2e-7 off; inference gives the exact one. An exponential ends at e^60 and learns beyond.

    Args:
        units: hidden layers; none leaves the last layer alone.
        kind: `"binary"`, `"regression"` or `"multiclass"`.
        output: what the prediction holds, `Task.output`; None is what a binary task or a regression predicts by itself.
        activation: of the hidden layers.
        dropout: share of hidden units set to zero in training.
        batch_norm: normalise after each hidden layer's activation.
        label_mean: the mean of the labels, of a binary task its base rate, of classes their rates, for the prediction to
            start at: training then has not to find out first that a conversion is rare, or that people watch for 40 seconds.
            None starts `b` at 0, which is a probability of one half, or the same for every class.

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, output.width)`, `(B, 1)` by default, float32 under every policy: a float16 sigmoid is 0 below 6e-8 and its
        cross-entropy infinite.

    Raises:
        ValueError: an unknown kind, a multiclass tower without `output`, a `label_mean` that no prediction can be, such as one of
            a binary task outside (0, 1), or what `MLP` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.layers import TaskTower
    >>> tuple(TaskTower([64])(keras.random.normal((8, 100))).shape)
    (8, 1)

    Reference:
        Ordered classes: McCullagh, "Regression Models for Ordinal Data", JRSS B 1980. Zero-inflated: Wang et al.,
        arXiv:1912.07753; see `tfmtl.losses.ZeroInflatedLogNormal`.
    """

    def __init__(
        self,
        units: int | Sequence[int] = (64,),
        *,
        kind: TaskKind = "binary",
        output: Output | Sequence[Any] | None = None,
        activation: Any = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        label_mean: float | Sequence[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_option("kind", kind, TaskKind)
        self.gives = output_of_kind(kind) if output is None else Output.from_config(output)
        if self.gives.width < 1:
            raise ValueError("A multiclass tower needs `output`, such as `task.output`. Received: output=None")
        if label_mean is not None and not can_start_at(self.gives, label_mean):
            bounds = {"probability": "in (0, 1)", "positive": "above 0", "zero_inflated": "above 0", "value": "finite"}
            expected = bounds.get(self.gives.form, f"{self.gives.width} rates that add up to 1")
            raise ValueError(
                f"`label_mean` of a {kind} task must be {expected}. Received: label_mean={label_mean} for kind={kind!r}"
            )
        self.kind = kind
        self.label_mean = label_mean
        options = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm, "dtype": self.dtype_policy}
        self.hidden = MLP(units, name="hidden", **options)
        self._start = start_of(self.gives, label_mean)
        ordered = self.gives.form == "ordered"
        self.output_layer = keras.layers.Dense(
            raw_width(self.gives),
            use_bias=not ordered,
            bias_initializer=None if ordered else starting_at(self._start),
            dtype="float32",
            name="output",
        )

    def build(self, input_shape: Any) -> None:
        self.hidden.build(input_shape)
        self.output_layer.build(self.hidden.compute_output_shape(input_shape))
        if self.gives.form == "ordered":
            steps = [math.log(math.expm1(max(gap, 1e-6))) for gap in np.diff(self._start)]
            start = starting_at([self._start[0], *steps])
            self.thresholds = add_uncast(self, "thresholds", (self.gives.width - 1,), start, dtype="float32")
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        return predict(self.gives, self.logits(x, training=training), training)

    def logits(self, x: Tensor, training: bool | None = None) -> Tensor:
        """The prediction before the link, float32: `(B, 1)` of one column; of ordered classes the logits of `y <= k`, `(B, C - 1)`."""
        raw = self.output_layer(ops.cast(self.hidden(x, training=training), "float32"))
        if self.gives.form != "ordered":
            return raw
        thresholds = ops.convert_to_tensor(self.thresholds)
        rising = ops.concatenate([thresholds[:1], thresholds[:1] + ops.cumsum(ops.softplus(thresholds[1:]))])
        return rising - raw

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return (input_shape[0], self.gives.width)

    def get_config(self) -> dict[str, Any]:
        hidden = self.hidden.get_config()
        options = {key: hidden[key] for key in ("units", "activation", "dropout", "batch_norm")}
        mean = list(self.label_mean) if isinstance(self.label_mean, Sequence) else self.label_mean
        return {**super().get_config(), **options, "kind": self.kind, "output": list(self.gives), "label_mean": mean}

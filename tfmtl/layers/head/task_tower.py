"""The last layers of one task."""

from collections.abc import Sequence
from typing import Any, get_args

from tfmtl.keras_host import keras, ops, register
from tfmtl.layers.core.mlp import MLP
from tfmtl.typing import TaskKind, Tensor


@register
class TaskTower(keras.layers.Layer):
    """Turns a task's representation into its prediction.

    ```
    y = link(MLP(x) W + b)        link: sigmoid for a binary task, identity for a regression
    ```

    Args:
        units: hidden layers; none leaves the last layer alone.
        kind: `"binary"` or `"regression"`.
        activation: of the hidden layers.
        dropout: share of hidden units set to zero in training.
        batch_norm: normalise after each hidden layer's activation.

    Input shape:
        `(B, D)`.

    Output shape:
        `(B, 1)`, float32 under every policy: a float16 sigmoid is 0 below 6e-8 and its cross-entropy infinite.

    Raises:
        ValueError: an unknown kind, or what `MLP` refuses.

    Example:

    >>> tuple(TaskTower([64])(keras.random.normal((8, 100))).shape)
    (8, 1)
    """

    def __init__(
        self,
        units: Sequence[int] = (64,),
        *,
        kind: TaskKind = "binary",
        activation: Any = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if kind not in get_args(TaskKind):
            raise ValueError(f"`kind` must be one of {get_args(TaskKind)}. Received: kind={kind!r}")
        self.kind = kind
        self.hidden = MLP(units, activation=activation, dropout=dropout, batch_norm=batch_norm, dtype=self.dtype_policy)
        self.output_layer = keras.layers.Dense(1, dtype="float32")

    def build(self, input_shape: Any) -> None:
        self.hidden.build(input_shape)
        self.output_layer.build(self.hidden.compute_output_shape(input_shape))
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        logits = self.logits(x, training=training)
        return ops.sigmoid(logits) if self.kind == "binary" else logits

    def logits(self, x: Tensor, training: bool | None = None) -> Tensor:
        """The prediction before the link, `(B, 1)` float32."""
        return self.output_layer(ops.cast(self.hidden(x, training=training), "float32"))

    def get_config(self) -> dict[str, Any]:
        hidden = self.hidden.get_config()
        options = {key: hidden[key] for key in ("units", "activation", "dropout", "batch_norm")}
        return {**super().get_config(), **options, "kind": self.kind}

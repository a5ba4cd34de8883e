"""AITM's transfer of information from one step of a conversion path to the next."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tfmtl.checks import check_dropout
from tfmtl.initializers import PerExpert
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.mlp import MLP
from tfmtl.schema.chains import check_chain
from tfmtl.typing import Streams, Tensor


@register_layer
class InformationTransfer(keras.layers.Layer):
    """Lets every step of a chain of tasks choose between what the step before hands on and what it knows itself.

    ```
    z_1 = x_1
    p_t = relu(z_{t-1} P_t + c_t)                                       what step t-1 hands on
    w_t = softmax_u(<u Q, u K> / sqrt(D)),   u in {p_t, x_t}            (B, 2)
    z_t = w_{t,1} p_t V + w_{t,2} x_t V
    ```

    `Q, K, V` have no bias and serve all steps. A chain may have any number of steps.

    Args:
        chain: names of the tasks, the first step first: `["click", "cart", "buy"]`.
        activation: of what is handed on; None leaves the relu out, as some re-implementations do.
        dropout: share of what is handed on that is set to zero in training.
        attention_bias: whether `Q`, `K` and `V` have a bias, as some re-implementations do.
        share_attention: False gives every step a `Q`, `K` and `V` of its own.

    Input shape:
        `{task: (B, D), ...}`, one D for the whole chain. Streams outside of the chain pass through.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a chain of fewer than two tasks or with a task twice, `dropout` outside [0, 1), or streams that lack
            a task of the chain or have several widths along it.

    Example:

    >>> import keras
    >>> from tfmtl.layers import InformationTransfer
    >>> x = keras.random.normal((8, 32))
    >>> y = InformationTransfer(["click", "cart", "buy"])({"click": x, "cart": x, "buy": x, "share": x})
    >>> tuple(y["buy"].shape)
    (8, 32)

    Reference:
        Xi et al., "Modeling the Sequential Dependence among Audience Multi-step Conversions with Multi-task Learning in
        Targeted Display Advertising", KDD 2021, arXiv:2105.08489. The equations are those of the authors' code, whose
        batch normalisation and N(0, 0.01) initial values we leave out.
    """

    def __init__(
        self,
        chain: Sequence[str],
        *,
        activation: Any = "relu",
        dropout: float = 0.0,
        attention_bias: bool = False,
        share_attention: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.chain = check_chain(chain)
        check_dropout(dropout)
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.attention_bias = attention_bias
        self.share_attention = share_attention

    def build(self, input_shape: Mapping[str, Any]) -> None:
        missing = [task for task in self.chain if task not in input_shape]
        if missing:
            raise ValueError(f"The streams lack tasks {missing} of the chain. Received: keys={sorted(input_shape)}")
        widths = {task: input_shape[task][-1] for task in self.chain}
        width = widths[self.chain[0]]
        if set(widths.values()) != {width}:
            raise ValueError(f"The streams of a chain must have one width. Received: widths={widths}")
        later = self.chain[1:]
        self.transfers = [
            MLP(
                [width],
                activation=self.activation,
                dropout=self.dropout,
                dtype=self.dtype_policy,
                name=f"{task}_transfer",
            )
            for task in later
        ]
        self.attentions = [
            keras.layers.Dense(
                3 * width,
                use_bias=self.attention_bias,
                kernel_initializer=PerExpert("glorot_uniform", 3),
                dtype=self.dtype_policy,
                name=f"attention_{index}",
            )
            for index in range(1 if self.share_attention else len(later))
        ]
        for layer in (*self.transfers, *self.attentions):
            layer.build((None, width))
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        return self._walk(streams, training)[0]

    def attention(self, streams: Streams) -> dict[str, Tensor]:
        """What each step but the first takes from the step before and from itself: `{task: (B, 2)}`, rows sum to 1."""
        return self._walk(streams, training=False)[1]

    def _walk(self, streams: Streams, training: bool | None) -> tuple[Streams, dict[str, Tensor]]:
        """`z_t` and `w_t`, step by step."""
        outputs, weights = dict(streams), {}
        for index, (before, task) in enumerate(pairwise(self.chain)):
            handed_on = self.transfers[index](outputs[before], training=training)  # p_t
            attention = self.attentions[0 if self.share_attention else index]
            outputs[task], weights[task] = self._attend(attention, [handed_on, streams[task]])
        return outputs, weights

    def _attend(self, attention: Any, pair: list[Tensor]) -> tuple[Tensor, Tensor]:
        """`sum_u w_u u V` over a pair of u, and `w`; Q, K and V lie side by side in one kernel."""
        width = pair[0].shape[-1]
        rows = ops.reshape(ops.stack(pair, axis=1), (-1, width))
        query, key, value = ops.split(ops.reshape(attention(rows), (-1, 2, 3 * width)), 3, axis=-1)  # each (B, 2, D)
        scores = ops.sum(ops.cast(query, "float32") * ops.cast(key, "float32"), axis=-1) * width**-0.5
        weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)
        return ops.sum(weights[:, :, None] * value, axis=1), weights

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        return {name: tuple(shape) for name, shape in input_shape.items()}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "chain": list(self.chain),
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "attention_bias": self.attention_bias,
            "share_attention": self.share_attention,
        }

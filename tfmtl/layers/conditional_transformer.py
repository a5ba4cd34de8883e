"""A transformer encoder whose layer normalisations are steered from outside."""

from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_count, check_option
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.mlp import MLP
from tfmtl.layers.norm_hypernetwork import BETA, GAMMA
from tfmtl.layers.self_attention import SelfAttention
from tfmtl.typing import Tensor

NormPosition: TypeAlias = Literal["post", "pre"]


@register_layer
class ConditionalTransformer(keras.layers.Layer):
    """Encodes S sequences in T ways that differ by the scale and shift of every layer normalisation.

    ```
    norm_n(v) = gamma_n * (v - mean(v)) / sqrt(var(v) + 1e-6) + beta_n

    post (each block):   z = norm_1(x + attention(x)),   y = norm_2(z + ffn(z))
    pre  (each block):   z = x + attention(norm_1(x)),   y = z + ffn(norm_2(z));   one more norm after the last block
    ffn(z) = relu(z W_1 + b_1) W_2 + b_2
    ```

    What comes before the first norm is the same for all T and computed once: with post-norm the first block's
    attention, its most expensive part.

    The last norm's scale and shift are left to the caller. They commute with a weighted mean over the events, so it is
    enough to apply them to one vector a sequence instead of L.

    Args:
        num_blocks: transformer blocks.
        num_heads: heads of the attention; must divide `D`.
        ffn_units: width of the hidden layer of `ffn`; None is `4 D`.
        norm_position: `"post"`, as in the first transformer, or `"pre"`.
        attention_bias: whether the attention's queries, values and output have a bias.

    Call arguments:
        sequences: `(S, B, L, D)`.
        mask: `(S, B, L)` bool, true for events.
        modulation: `(T, S, N, 2, D)`, gamma and beta of the `N = num_norms` norms; T and S may be 1 to serve all.

    Output shape:
        `(T, S, B, L, D)`, normalised, before the last scale and shift. Entries of padding mean nothing.

    Raises:
        ValueError: a count or width below 1, an unknown position, or `D` not divisible by `num_heads`.

    Example:

    >>> import keras
    >>> from tfmtl.layers import ConditionalTransformer
    >>> transformer = ConditionalTransformer(num_blocks=1)
    >>> x, mask = keras.random.normal((3, 8, 10, 16)), keras.ops.ones((3, 8, 10), dtype="bool")
    >>> states = transformer(x, mask, keras.ops.ones((2, 3, transformer.num_norms, 2, 16)))
    >>> tuple(states.shape)
    (2, 3, 8, 10, 16)

    Reference:
        Vaswani et al., "Attention Is All You Need", NIPS 2017. Liu et al. (DTRN), CIKM 2023, arXiv:2308.05996, steer the
        layer normalisation of a transformer; that it is every norm of every block is our choice.
    """

    def __init__(
        self,
        *,
        num_blocks: int = 1,
        num_heads: int = 2,
        ffn_units: int | None = None,
        norm_position: NormPosition = "post",
        attention_bias: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_option("norm_position", norm_position, NormPosition)
        self.num_blocks = check_count("num_blocks", num_blocks)
        self.num_heads = check_count("num_heads", num_heads)
        self.ffn_units = None if ffn_units is None else check_count("ffn_units", ffn_units)
        self.norm_position = norm_position
        self.attention_bias = attention_bias
        self.attentions = [
            SelfAttention(self.num_heads, use_bias=attention_bias, dtype=self.dtype_policy, name=f"attention_{block}")
            for block in range(self.num_blocks)
        ]
        # Its statistics are float32 under every policy.
        self.normalize = keras.layers.LayerNormalization(
            epsilon=1e-6, center=False, scale=False, dtype=self.dtype_policy, name="normalize"
        )

    @property
    def num_norms(self) -> int:
        """Norms that need a gamma and a beta, the last one included."""
        return 2 * self.num_blocks + (self.norm_position == "pre")

    def build(self, sequences_shape: Any) -> None:
        width = sequences_shape[-1]
        hidden = self.ffn_units or 4 * width
        blocks = range(self.num_blocks)
        self.expand = [MLP([hidden], dtype=self.dtype_policy, name=f"expand_{block}") for block in blocks]
        self.contract = [
            MLP([width], activation=None, dtype=self.dtype_policy, name=f"contract_{block}") for block in blocks
        ]
        for block, attention in enumerate(self.attentions):
            attention.build((None, None, width))
            self.expand[block].build((None, width))
            self.contract[block].build((None, hidden))
        self.normalize.build((None, None, None, None, width))
        self.built = True

    def call(self, sequences: Tensor, mask: Tensor, modulation: Tensor) -> Tensor:
        modulation = ops.cast(modulation, self.compute_dtype)
        x = sequences[None]  # (1, S, B, L, D): one for all T until a norm tells them apart
        for block in range(self.num_blocks):
            first, second = 2 * block, 2 * block + 1
            if self.norm_position == "pre":
                x = x + self._attend(block, self._norm(x, modulation, first), mask)
                x = x + self._feed_forward(block, self._norm(x, modulation, second))
            else:
                x = self._norm(x + self._attend(block, x, mask), modulation, first)
                x = x + self._feed_forward(block, x)
                if block + 1 < self.num_blocks:
                    x = self._norm(x, modulation, second)
        return self.normalize(x)

    def _norm(self, x: Tensor, modulation: Tensor, index: int) -> Tensor:
        steer = modulation[:, :, index, :, None, None, :]  # (T, S, 2, 1, 1, D)
        return self.normalize(x) * steer[:, :, GAMMA] + steer[:, :, BETA]

    def _attend(self, block: int, x: Tensor, mask: Tensor) -> Tensor:
        length, width = ops.shape(x)[3], x.shape[4]
        every = ops.broadcast_to(mask[None], ops.shape(x)[:4])
        attended = self.attentions[block](ops.reshape(x, (-1, length, width)), ops.reshape(every, (-1, length)))
        return ops.reshape(attended, ops.shape(x))

    def _feed_forward(self, block: int, x: Tensor) -> Tensor:
        rows = ops.reshape(x, (-1, x.shape[4]))  # a 2-D matmul takes bias and activation along
        return ops.reshape(self.contract[block](self.expand[block](rows)), ops.shape(x))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_blocks": self.num_blocks,
            "num_heads": self.num_heads,
            "ffn_units": self.ffn_units,
            "norm_position": self.norm_position,
            "attention_bias": self.attention_bias,
        }

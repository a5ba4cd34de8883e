"""Behaviour histories as a transformer leaves them, and what pooling makes of them."""

from typing import NamedTuple

from tfmtl.keras_host import ops
from tfmtl.typing import Tensor


class EncodedHistories(NamedTuple):
    """Behaviours of one length, encoded for every task, up to the last norm's gamma and beta.

    Args:
        behaviors: their names, S of them.
        states: `(T, S, B, L, D)`, a state for each event; T is 1 where all tasks agree, here and below.
        gamma: `(T, S, 1, D)`, the last norm's scale.
        beta: `(T, S, 1, D)`, its shift.
        mask: `(S, B, L)` bool, true for events.
        recency: `(S, B, L)` int32, how many events follow.
    """

    behaviors: tuple[str, ...]
    states: Tensor
    gamma: Tensor
    beta: Tensor
    mask: Tensor
    recency: Tensor

    def pooled(self, weights: Tensor) -> Tensor:
        """The weighted sum of the events, `(T, S, B, D)`; zeros where there is no weight, as in an empty history.

        Weights `(T, S, B, L)` else sum to 1, so the last norm's gamma and beta act on the sum instead of on L states:
        `sum_l w_l (gamma o_l + beta) = gamma sum_l w_l o_l + beta`.
        """
        total = ops.matmul(ops.cast(weights, self.states.dtype)[..., None, :], self.states)[..., 0, :]
        pooled = total * self.gamma + self.beta
        some = ops.any(ops.not_equal(weights, 0.0), axis=-1)
        return ops.where(some[..., None], pooled, ops.zeros_like(pooled))


def recency_of(mask: Tensor) -> Tensor:
    """How many events follow each event, `(..., L)` int32: 0 for the most recent one, wherever the padding is."""
    events = ops.cast(mask, "int32")
    return ops.sum(events, axis=-1, keepdims=True) - ops.cumsum(events, axis=-1)

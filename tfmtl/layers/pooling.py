"""One vector for a history of events."""

from tfmtl.keras_host import dtype_of, ops
from tfmtl.schema.sequence import Pooling
from tfmtl.typing import Tensor

_LOWEST = {"float16": -6e4}
"""Below the events of any table that trains; of other types nearly their lowest number."""


def pool_events(events: Tensor, mask: Tensor, pooling: Pooling, weights: Tensor | None = None) -> Tensor:
    """Joins events `(B, L, D)` into `(B, D)` by mean, sum or maximum over those where `mask` `(B, L)` is 1 or true.

    Padding changes nothing, and a history without events gives zeros. `weights` `(B, L)` multiply the events, and a mean is
    divided by their sum; over weights that sum to nothing it gives zeros.
    """
    if weights is not None:
        return ops.cast(_weighed(ops.cast(events, "float32"), mask, weights, pooling), events.dtype)
    present = ops.cast(mask, events.dtype)[:, :, None]
    if pooling == "max":
        lowest = _LOWEST.get(dtype_of(events), -3e38)
        highest = ops.max(ops.where(present > 0, events, ops.cast(lowest, events.dtype)), axis=1, initial=lowest)
        return highest * ops.max(present, axis=1, initial=0.0)  # without an `initial`, no batch may be empty
    kept = events * present
    if dtype_of(events) == "float16":  # its sums end at 65504, and its counts at 2048
        kept = ops.cast(kept, "float32")
    total = ops.sum(kept, axis=1)
    if pooling == "mean":
        total = total / ops.cast(ops.maximum(ops.sum(ops.cast(present, "float32"), axis=1), 1), total.dtype)
    return ops.cast(total, events.dtype)


def _weighed(events: Tensor, mask: Tensor, weights: Tensor, pooling: Pooling) -> Tensor:
    shares = (ops.cast(weights, "float32") * ops.cast(mask, "float32"))[:, :, None]
    weighed = shares * events
    if pooling == "max":
        return pool_events(weighed, mask, pooling)
    total = ops.sum(weighed, axis=1)
    return total if pooling == "sum" else divided(total, ops.sum(shares, axis=1))


def divided(total: Tensor, whole: Tensor) -> Tensor:
    """`total / whole`, 0 where `whole` is 0."""
    some = ops.not_equal(whole, 0.0)
    return ops.where(some, total, 0.0) / ops.where(some, whole, 1.0)

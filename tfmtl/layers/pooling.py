"""One vector for a history of events."""

from tfmtl.keras_host import dtype_of, ops
from tfmtl.schema.sequence import Pooling
from tfmtl.typing import Tensor

_LOWEST = -6e4
"""Below the events of any table that trains, and within float16."""


def pool_events(events: Tensor, mask: Tensor, pooling: Pooling, weights: Tensor | None = None) -> Tensor:
    """Joins events `(B, L, D)` into `(B, D)` by mean, sum or maximum over those where `mask` `(B, L)` is 1 or true.

    Padding changes nothing, and a history without events gives zeros. Of a sum or mean `weights` `(B, L)` say how much each
    event counts; a mean over weights that sum to nothing gives zeros.
    """
    present = ops.cast(mask, events.dtype)[:, :, None]
    if pooling == "max":
        lowest = ops.cast(_LOWEST, events.dtype)
        highest = ops.max(ops.where(present > 0, events, lowest), axis=1, initial=_LOWEST)
        return highest * ops.max(present, axis=1, initial=0.0)  # without an `initial`, no batch may be empty
    kept = events * present
    if dtype_of(events) == "float16":  # its sums end at 65504, and its counts at 2048
        kept = ops.cast(kept, "float32")
    if weights is not None:
        return ops.cast(_weighed(ops.cast(kept, "float32"), present, weights, pooling), events.dtype)
    total = ops.sum(kept, axis=1)
    if pooling == "mean":
        total = total / ops.cast(ops.maximum(ops.sum(ops.cast(present, "float32"), axis=1), 1), total.dtype)
    return ops.cast(total, events.dtype)


def _weighed(kept: Tensor, present: Tensor, weights: Tensor, pooling: Pooling) -> Tensor:
    shares = ops.cast(weights, "float32")[:, :, None] * ops.cast(present, "float32")
    total = ops.sum(shares * kept, axis=1)
    if pooling == "sum":
        return total
    whole = ops.sum(shares, axis=1)
    some = ops.not_equal(whole, 0.0)
    return ops.where(some, total, 0.0) / ops.where(some, whole, 1.0)

"""What a gate makes of experts."""

from collections.abc import Sequence
from itertools import accumulate

from tfmtl.keras_host import ops
from tfmtl.typing import Tensor


def weighted_sum(weights: Tensor, selected: Sequence[Tensor]) -> Tensor:
    """`g = w S = sum_i w_i e_i`, for each row of a batch.

    `S` may come in several blocks of experts. They are not copied into one tensor: each is weighted by its part of `w`,
    and the sums are added.

    Args:
        weights: `(B, E)`.
        selected: blocks of experts, `(B, E_1, U)`, `(B, E_2, U)`, ..., E in all.

    Returns:
        `(B, U)`.
    """
    # One split and one squeeze for all blocks: of slices each block would take two, eight operations of a served graph.
    shares = in_parts(ops.expand_dims(weights, 1), [experts.shape[1] for experts in selected])  # (B, 1, E_i)
    total, *others = (ops.matmul(share, experts) for share, experts in zip(shares, selected, strict=True))
    for other in others:
        total = total + other
    return ops.squeeze(total, 1)


def in_parts(x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """`x`, cut along its last axis into neighbours of these sizes."""
    if len(sizes) == 1:
        return [x]
    if len(set(sizes)) == 1:  # one operation; of other sizes Keras makes two dozen
        return ops.split(x, len(sizes), axis=-1)
    return ops.split(x, list(accumulate(sizes[:-1])), axis=-1)

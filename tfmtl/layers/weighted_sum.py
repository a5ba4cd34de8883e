"""What a gate makes of experts."""

from collections.abc import Sequence

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
    total, start = None, 0
    for experts in selected:
        stop = start + experts.shape[1]
        share = ops.matmul(weights[:, None, start:stop], experts)[:, 0]
        total, start = share if total is None else total + share, stop
    return total

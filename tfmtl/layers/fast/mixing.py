"""Weighted sums of experts."""

from tfmtl.keras_host import BACKEND, ops
from tfmtl.layers.fast.hardware import has_accelerator
from tfmtl.typing import Tensor

_JOINED = 16
"""How many experts a joined product sums over at most."""


def mix(weights: Tensor, experts: Tensor, training: bool | None = None) -> list[Tensor]:
    """`y_r = sum_i w_{r,i} e_i` for each reader `r` of a row.

    One batched matmul, a small product for each row. With few experts, starting such a product costs TensorFlow on a CPU
    more than computing it, most of all on the way back, so in training several rows share one: a reader's weights are zero
    for the experts of the other rows. A row that is not finite then spoils those beside it too; its gradients spoil the
    step anyway. GPUs and other backends gain nothing by that.

    Args:
        weights: `(B, R, E)`.
        experts: `(B, E, U)`.
        training: as in a layer's `call`.

    Returns:
        A `(B, U)` for each reader.
    """
    _, readers, num = weights.shape
    rows = _power_of_two(_JOINED // num)
    joins = training and rows > 1 < num and BACKEND == "tensorflow" and not has_accelerator()
    mixed = _mix_joined(weights, experts, rows) if joins else ops.matmul(weights, experts)
    return [ops.reshape(mixed, (-1, mixed.shape[-1]))] if readers == 1 else ops.unstack(mixed, readers, axis=1)


def _mix_joined(weights: Tensor, experts: Tensor, most: int) -> Tensor:
    """The sums `(B, R, U)`; up to `most` rows, a power of two that divides the batch, share a product."""
    (_, readers, num), width = weights.shape, experts.shape[-1]
    rows = _lowest_bit(ops.shape(weights)[0] | most)
    own = ops.reshape(ops.eye(rows, dtype=weights.dtype), (rows, 1, rows, 1))
    spread = ops.reshape(weights, (-1, rows, readers, 1, num)) * own
    spread = ops.reshape(spread, (-1, rows * readers, rows * num))
    mixed = ops.matmul(spread, ops.reshape(experts, (-1, rows * num, width)))
    return ops.reshape(mixed, (-1, readers, width))


def _power_of_two(most: int) -> int:
    """The greatest power of two up to `most`; 0 for 0."""
    return 1 << most.bit_length() - 1 if most else 0


def _lowest_bit(number: Tensor | int) -> Tensor | int:
    """The greatest power of two that divides `number`."""
    return number & -number

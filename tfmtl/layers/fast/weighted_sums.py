"""Weighted sums of the same experts for several readers."""

from collections.abc import Mapping

from tfmtl.keras_host import BACKEND, ops
from tfmtl.layers.fast.hardware import has_accelerator
from tfmtl.layers.weighted_sum import weighted_sum
from tfmtl.typing import Streams, Tensor

_JOINED = 16
"""How many experts a joined product sums over at most."""


def weighted_sums(weights: Mapping[str, Tensor], experts: Tensor, training: bool | None = None) -> Streams:
    """`{reader: weighted_sum(w, [experts])}`; in training all readers share one product.

    Outside of training every reader is computed for itself, so that an export of some tasks leaves the others out.

    Args:
        weights: `(B, E)` for each reader.
        experts: `(B, E, U)`.
        training: as in a layer's `call`.

    Returns:
        A `(B, U)` for each reader.
    """
    if not training:
        return {reader: weighted_sum(gate, [experts]) for reader, gate in weights.items()}
    stacked = ops.stack(list(weights.values()), axis=1)  # (B, R, E)
    return dict(zip(weights, sums_in_one_product(stacked, experts), strict=True))


def sums_in_one_product(weights: Tensor, experts: Tensor) -> list[Tensor]:
    """`y_r = sum_i w_{r,i} e_i` for each reader `r` of a row.

    One batched matmul, a small product for each row. With few experts, starting such a product costs TensorFlow on a CPU
    more than computing it, most of all on the way back, so several rows share one: a reader's weights are zero for the
    experts of the other rows. A row that is not finite then spoils those beside it too; its gradients spoil the step
    anyway. GPUs and other backends gain nothing by that. A single reader needs no product: one pass over the experts is as
    fast, in a third of the operations.

    Args:
        weights: `(B, R, E)`.
        experts: `(B, E, U)`.

    Returns:
        A `(B, U)` for each reader.
    """
    _, readers, num = weights.shape
    if readers == 1:
        return [ops.sum(ops.reshape(weights, (-1, num, 1)) * experts, axis=1)]
    rows = _power_of_two(_JOINED // num)
    joins = rows > 1 < num and BACKEND == "tensorflow" and not has_accelerator()
    return ops.unstack(_join_rows(weights, experts, rows) if joins else ops.matmul(weights, experts), readers, axis=1)


def _join_rows(weights: Tensor, experts: Tensor, most: int) -> Tensor:
    """The sums `(B, R, U)`; up to `most` rows, a power of two that divides the batch, share a product.

    ```
    [ w_1  0  ]   [ e_1 ]
    [  0  w_2 ] * [ e_2 ]        two rows; w: (R, E), e: (E, U)
    ```
    """
    (_, readers, num), width = weights.shape, experts.shape[-1]
    rows = _greatest_power_of_two_in(ops.shape(weights)[0] | most)
    diagonal = ops.reshape(ops.eye(rows, dtype=weights.dtype), (rows, 1, rows, 1))
    blocks = ops.reshape(weights, (-1, rows, readers, 1, num)) * diagonal
    blocks = ops.reshape(blocks, (-1, rows * readers, rows * num))
    sums = ops.matmul(blocks, ops.reshape(experts, (-1, rows * num, width)))
    return ops.reshape(sums, (-1, readers, width))


def _power_of_two(most: int) -> int:
    """The greatest power of two up to `most`; 0 for 0."""
    return 1 << most.bit_length() - 1 if most else 0


def _greatest_power_of_two_in(number: Tensor | int) -> Tensor | int:
    """The greatest power of two that divides `number`: its lowest bit."""
    return number & -number

"""Tensors of which the user's columns are computed once and the candidates' for each of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfmtl.typing import Tensor


@dataclass(frozen=True)
class Fixed:
    """A tensor that depends on no input: a constant or a weight."""

    tensor: Tensor


@dataclass(frozen=True)
class Once:
    """A tensor that depends on the user alone, computed for a batch of one."""

    tensor: Tensor


@dataclass(frozen=True)
class Each:
    """A tensor computed for every candidate."""

    tensor: Tensor


@dataclass(frozen=True)
class Parts:
    """A tensor whose columns (axis 1) depend partly on the user alone and partly on the candidate.

    Args:
        once: the user's columns, `(1, A, ...)`.
        each: the other columns, `(N, B, ...)`.
        layout: for each of the `A + B` columns, whether it is one of the user's.
    """

    once: Tensor
    each: Tensor
    layout: tuple[bool, ...]

    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Where in the whole tensor the columns of `once` and of `each` stand."""
        users = np.array(self.layout)
        return np.flatnonzero(users), np.flatnonzero(~users)

    def whole(self, once: Tensor) -> Tensor:
        """The whole tensor, given the user's columns repeated for every candidate."""
        pieces, start = [], {True: 0, False: 0}
        for users, run in groupby(self.layout):
            stop = start[users] + len(list(run))
            pieces.append((once if users else self.each)[:, start[users] : stop])
            start[users] = stop
        return tf.concat(pieces, 1)

    def column(self, place: int) -> Once | Each:
        """One column of the whole, without the axis of the columns."""
        before = sum(self.layout[:place])
        return Once(self.once[:, before]) if self.layout[place] else Each(self.each[:, place - before])

    def columns(self, start: int, stop: int) -> "Value":
        """Columns `[start, stop)` of the whole."""
        layout = self.layout[start:stop]
        before, users = sum(self.layout[:start]), sum(layout)
        others = start - before
        once = self.once[:, before : before + users]
        each = self.each[:, others : others + len(layout) - users]
        if users == len(layout):
            return Once(once)
        return Parts(once, each, layout) if users else Each(each)


@dataclass(frozen=True)
class Shifted:
    """A matrix that is the sum of one computed for every candidate and of one row.

    Args:
        each: `(N, U)`.
        shift: `(U,)`.
    """

    each: Tensor
    shift: Tensor

    def whole(self) -> Tensor:
        """The sum; beside the matmul that makes `each` it costs nothing, nor does an activation after it."""
        return tf.nn.bias_add(self.each, self.shift)


Value: TypeAlias = Fixed | Once | Each | Parts | Shifted
Copy: TypeAlias = Callable[[tf.Operation, Iterable[Tensor]], list[Tensor]]
Rule: TypeAlias = Callable[[Copy, tf.Operation, list[Value]], list[Value] | None]
"""What an operation gives for such inputs, or None where the rule does not hold; `copy` copies it over other inputs."""


def is_batch_major(tensor: Tensor) -> bool:
    """Whether the rows of a traced tensor, and only they, are counted by its first axis."""
    shape = tensor.shape
    return bool(shape.rank) and shape[0] is None and all(size is not None for size in shape[1:])


def rows_axis(traced: Tensor, copy: Tensor | None = None) -> int | None:
    """The axis of a traced tensor that counts rows, or None where that is not known.

    Args:
        traced: the tensor.
        copy: for what depends on the user alone, its copy for one row: the axis is the one of which that made 1. Two
            histories in one axis, say, are not: repeated, they would come in another order.
    """
    if traced.shape.rank is None or (copy is not None and copy.shape.rank != traced.shape.rank):
        return None
    unknown = [axis for axis, size in enumerate(traced.shape) if size is None]
    axes = unknown if copy is None else [axis for axis in unknown if copy.shape[axis] == 1]
    return axes[0] if len(axes) == 1 else None


def static(tensor: Tensor) -> int | None:
    """The value of a constant."""
    value = tf.get_static_value(tensor)
    return None if value is None else int(value)

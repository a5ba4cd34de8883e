"""What a tensor of a traced graph is, where one user's row meets many candidates' rows."""

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfmtl.typing import Tensor

_FEW = 4
"""Changes of side that are cheaper to slice than to gather."""


@dataclass(frozen=True)
class _Held:
    tensor: Tensor


class Constant(_Held):
    """Depends on no input: a number, a weight, a lookup table."""


class UserRow(_Held):
    """Depends on the user alone, and is computed for a batch of one."""


class CandidateRows(_Held):
    """Is computed for every candidate."""


@dataclass(frozen=True)
class ShiftedRows:
    """A matrix computed for every candidate, to each row of which one and the same row is still to be added.

    Args:
        rows: `(N, U)`.
        shift: `(U,)`.
    """

    rows: Tensor
    shift: Tensor

    @cached_property
    def tensor(self) -> Tensor:
        """The sum. As the bias of the matmul that makes `rows` it costs nothing, nor does an activation after it."""
        return tf.nn.bias_add(self.rows, self.shift)


@dataclass(frozen=True)
class JoinedColumns:
    """Columns (axis 1) set side by side, of which some depend on the user alone.

    Args:
        user: the user's columns, `(1, A, ...)`.
        candidates: the others, `(N, B, ...)`.
        is_user: for each of the `A + B` columns, whether it is one of the user's.
    """

    user: Tensor
    candidates: Tensor
    is_user: tuple[bool, ...]

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the user's columns stand, and where the others do."""
        return np.flatnonzero(self.is_user), np.flatnonzero(~np.array(self.is_user))

    @cached_property
    def user_alone(self) -> Tensor:
        """All columns, those of candidates 0; made once for all weights that it is multiplied with, such as sixty gates'."""
        zeros = tf.zeros((1, self.is_user.count(False), *self.candidates.shape[2:]), self.user.dtype)
        return JoinedColumns(self.user, zeros, self.is_user).whole(self.user)

    def whole(self, user: Tensor) -> Tensor:
        """All columns in their order, the user's from `user`, which has as many rows as there are candidates."""
        if np.count_nonzero(np.diff(self.is_user)) > _FEW:
            user_places, other_places = self.places
            order = np.argsort(np.concatenate([user_places, other_places]))
            return tf.gather(tf.concat([user, self.candidates], 1), order, axis=1)
        pieces, start = [], {True: 0, False: 0}
        for is_user, run in groupby(self.is_user):
            stop = start[is_user] + len(list(run))
            pieces.append((user if is_user else self.candidates)[:, start[is_user] : stop])
            start[is_user] = stop
        return tf.concat(pieces, 1)


Value: TypeAlias = Constant | UserRow | CandidateRows | ShiftedRows | JoinedColumns


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

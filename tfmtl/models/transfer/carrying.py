"""From an old weight to the new one that means the same, entry by entry."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from tfmtl.keras_host import ops
from tfmtl.models.transfer.meanings import UNKNOWN, Axis, Meaning


class Carried(NamedTuple):
    """What a weight takes over.

    Args:
        value: the weight's new value; None where nothing is taken over.
        share: of the entries that have a counterpart.
        left: whether the old weight has entries that the new one has not.
    """

    value: np.ndarray | None
    share: float
    left: bool = False


def carry(new: Meaning, old: Meaning | None) -> Carried:
    """The values of `old` where the labels of all axes are the same, 0 where an old output reads a new input."""
    if old is None:
        return Carried(None, 0.0)
    value, old_value = (np.array(ops.convert_to_numpy(meaning.variable)) for meaning in (new, old))
    if new.axes is None or old.axes is None:
        same = (value.shape, new.axes, new.given) == (old_value.shape, old.axes, old.given)
        return Carried(old_value, 1.0) if same else Carried(None, 0.0)
    if len(new.axes) != len(old.axes):
        return Carried(None, 0.0)
    return _by_labels(value, new.axes, old_value, old.axes)


def _by_labels(value: np.ndarray, axes: Sequence[Axis], old_value: np.ndarray, old_axes: Sequence[Axis]) -> Carried:
    pairs = [_pairs(axis.labels, before.labels, axis.of_ids) for axis, before in zip(axes, old_axes, strict=True)]
    if not all(len(here) for here, _ in pairs):
        return Carried(None, 0.0)
    for place, (axis, (here, _)) in enumerate(zip(axes, pairs, strict=True)):
        if axis.reads:
            added = np.setdiff1d(np.arange(len(axis.labels)), here)
            value[np.ix_(*(added if each == place else pair[0] for each, pair in enumerate(pairs)))] = 0
    value[np.ix_(*(here for here, _ in pairs))] = old_value[np.ix_(*(there for _, there in pairs))]
    taken = int(np.prod([len(here) for here, _ in pairs]))
    read = int(np.prod([len(np.unique(there)) for _, there in pairs]))
    return Carried(value, taken / value.size, read < old_value.size)


def _pairs(
    labels: Sequence[Hashable], old_labels: Sequence[Hashable], of_ids: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The places of the labels that both have, here and there; `of_ids` pairs new labels with the unknown one."""
    there = {label: place for place, label in enumerate(old_labels)}
    if of_ids:
        there |= {label: there[UNKNOWN] for label in labels if label not in there}
    found = [(place, there[label]) for place, label in enumerate(labels) if label in there]
    here, before = zip(*found, strict=True) if found else ((), ())
    return np.array(here, "int64"), np.array(before, "int64")


def carry_table(
    value: np.ndarray,
    columns: Sequence[Hashable],
    old_value: np.ndarray,
    old_columns: Sequence[Hashable],
    rows: np.ndarray,
) -> Carried:
    """The rows of a table, each from an old one.

    Args:
        value: `(rows, columns)`, what the table starts with.
        columns: what each number of a row stands for.
        old_value: of the table that the rows come from.
        old_columns: as `columns`.
        rows: `(rows,)`, the old row of each.
    """
    here, there = _pairs(columns, old_columns)
    if not len(here):
        return Carried(None, 0.0)
    new = value.copy()
    new[:, here] = old_value[rows][:, there]
    known = 1 + int(np.count_nonzero(rows[1:]))
    share = known * len(here) / new.size
    return Carried(new, share, bool(known * len(there) < old_value.size))

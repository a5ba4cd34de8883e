"""What one pass over a column leaves behind: counts of ids, quantiles and moments of numbers."""

from collections import Counter
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.schema.categorical import MISSING_ID
from tfmtl.schema.values import as_text
from tfmtl.typing import IdDtype


class IdCounts:
    """How often each id occurs. Memory grows with the number of distinct ids and with nothing else."""

    def __init__(self, dtype: IdDtype | None):
        self.dtype = dtype
        self._counts: Counter[Any] = Counter()

    def update(self, ids: np.ndarray) -> None:
        """Counts the ids of one batch."""
        dtype = id_dtype(ids)
        if dtype is None or self.dtype not in (None, dtype):
            raise ValueError(f"must hold {self.dtype or 'strings or integers'}. Received: {ids.dtype}")
        self.dtype = dtype
        self._counts.update(ids.ravel().tolist())

    def vocabulary(self, min_count: int) -> tuple[Any, ...]:
        """The ids that occur `min_count` times or more, most frequent first, ties in the order of the ids; one at least."""
        if known := self.frequent(min_count):
            return known
        if self.frequent(1):
            raise ValueError(f"has no id that occurs `min_count` times. Received: min_count={min_count}")
        raise ValueError("holds no id that is not missing: there is no vocabulary to learn")

    def frequent(self, min_count: int) -> tuple[Any, ...]:
        """As `vocabulary`, and none where none is frequent enough."""
        if self.dtype == "string":
            counts: Counter[Any] = Counter()
            for value, count in self._counts.items():
                counts[text(value)] += count
        else:
            counts = Counter(self._counts)
        for missing in (None, MISSING_ID[self.dtype or "string"]):
            counts.pop(missing, None)
        known = [(-count, value) for value, count in counts.items() if count >= min_count]
        return tuple(value for _, value in sorted(known))


def as_array(values: Any) -> np.ndarray:
    """A column of a batch as an array; texts as objects, because NumPy's own lose the NULs at their ends."""
    if isinstance(values, tf.RaggedTensor):
        values = values.flat_values
    if tf.is_tensor(values):
        return values.numpy()
    array = np.asarray(values)
    return np.asarray(values, object) if array.dtype.kind in "SU" and not hasattr(values, "dtype") else array


def id_dtype(ids: np.ndarray) -> IdDtype | None:
    """The kind of ids that an array holds; None if it holds none."""
    if ids.dtype.kind in "iub":
        return "int64"
    return "string" if ids.dtype.kind in "OSU" else None


def text(value: Any) -> str | None:
    """A text id, which TensorFlow gives as bytes, as Python's own; None stays."""
    if isinstance(value, bytes):
        return as_text(value)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"must hold strings. Received: {value!r}")


class Moments:
    """Mean and standard deviation of the finite numbers, one for each position of a row, and whether any was not."""

    def __init__(self, size: int):
        self.any_missing = False
        self._count = np.zeros(size)
        self._mean = np.zeros(size)
        self._squares = np.zeros(size)  # sum of squared distances to the mean

    def update(self, numbers: np.ndarray) -> None:
        """Adds the numbers of one batch, `(B,)` or `(B, size)`."""
        numbers = numbers.reshape(len(numbers), len(self._count)).astype("float64")
        finite = np.isfinite(numbers)
        self.any_missing |= not finite.all()  # `NumberEncoder` makes an infinite number NaN
        count = finite.sum(axis=0)
        mean = np.where(finite, numbers, 0).sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(finite, numbers - mean, 0) ** 2).sum(axis=0)
        # Two parts' moments joined: Chan, Golub and LeVeque, 1979.
        total = np.maximum(self._count + count, 1)
        distance = mean - self._mean
        self._squares += squares + distance**2 * self._count * count / total
        self._mean += distance * count / total
        self._count += count

    @property
    def count(self) -> np.ndarray:
        """How many finite numbers there were, for each position."""
        return self._count

    def variance(self) -> np.ndarray:
        """Mean squared distance to the mean, for each position; NaN without a number."""
        return np.where(self._count > 0, self._squares / np.maximum(self._count, 1), np.nan)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation; a deviation of 0 is given as 1, so that a constant becomes 0."""
        if not self._count.all():
            raise ValueError("holds no number that is not missing: there is no mean to learn")
        std = np.sqrt(self.variance())
        return tuple(self._mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())


class Quantiles:
    """Distinct finite numbers and their weights; neighbours are merged when there are more than `capacity`.

    Exact while a column has at most `capacity` distinct values. Beyond, values are merged that weigh at most
    4 / `capacity` of the rows read so far, each group together; a heavier value stays itself.
    """

    def __init__(self, capacity: int = 1 << 16):
        self._capacity = capacity
        self._values: np.ndarray = np.zeros(0)
        self._weights: np.ndarray = np.zeros(0)
        self._waiting: list[np.ndarray] = []
        self._waiting_rows = 0
        self._merges = 0

    def update(self, numbers: np.ndarray) -> None:
        """Adds the numbers of one batch."""
        self._waiting.append(numbers[np.isfinite(numbers)])
        self._waiting_rows += len(self._waiting[-1])
        if self._waiting_rows >= 4 * self._capacity:
            self._merge()

    def _merge(self) -> None:
        arrived = np.concatenate([np.zeros(0), *self._waiting])
        values = np.concatenate([self._values, arrived])
        weights = np.concatenate([self._weights, np.ones(len(arrived))])
        self._waiting, self._waiting_rows = [], 0
        self._values, place = np.unique(values, return_inverse=True)
        self._weights = np.bincount(place, weights, minlength=len(self._values))
        if len(self._values) > self._capacity:
            starts = _groups(self._weights, 4 * self._weights.sum() / self._capacity)
            ends = np.append(starts[1:], len(self._values)) - 1
            # In turn the first and the last value stand for a group: errors of many merges cancel.
            self._values = self._values[starts if self._merges % 2 else ends]
            self._weights = np.add.reduceat(self._weights, starts)
            self._merges += 1

    def boundaries(self, bins: int) -> tuple[float, ...]:
        """At most `bins - 1` edges such that the fullest bin of several values is as empty as it can be.

        Where values repeat little these are the quantiles. A value that repeats often gets a bin of its own, and the
        other values share all other bins: a column of 96 % zeros keeps its resolution where it is not zero.
        """
        self._merge()
        if not len(self._values):
            raise ValueError("holds no number that is not missing: there are no bins to learn")
        return tuple(self._values[_starts(self._weights, bins)[1:]].tolist())


def _groups(weights: np.ndarray, limit: float) -> np.ndarray:
    """Where groups of neighbours start that weigh about `limit` each; a heavier value is a group of its own."""
    slot = np.floor((np.cumsum(weights) - weights) / limit)
    heavy = weights > limit
    starts = np.diff(slot, prepend=-1.0) > 0
    starts[1:] |= heavy[1:] | heavy[:-1]
    return np.flatnonzero(starts)


def _starts(weights: np.ndarray, bins: int) -> np.ndarray:
    """Where each of at most `bins` bins starts, for the smallest limit on the weight of a bin of several values."""
    if len(weights) <= bins:
        return np.arange(len(weights))
    total = np.concatenate([[0.0], np.cumsum(weights)])
    low, high = 0.0, total[-1]
    for _ in range(40):
        limit = (low + high) / 2
        if len(_fill(total, limit, bins)) <= bins:
            high = limit
        else:
            low = limit
    return _fill(total, high, bins)


def _fill(total: np.ndarray, limit: float, bins: int) -> np.ndarray:
    """The starts of bins filled up to `limit` one after the other; gives up after `bins + 1`."""
    starts = [0]
    while len(starts) <= bins:
        full = int(np.searchsorted(total, total[starts[-1]] + limit, side="right")) - 1
        start = max(full, starts[-1] + 1)
        if start >= len(total) - 1:
            break
        starts.append(start)
    return np.array(starts)

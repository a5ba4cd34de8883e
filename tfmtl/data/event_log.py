"""Histories from a log of events: for every row what happened before it, and nothing later."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tfmtl.checks import check_count, check_names


def add_histories(
    rows: pa.Table,
    events: pa.Table,
    histories: Mapping[str, Any],
    *,
    user: str,
    time: str,
    columns: str | Iterable[str],
    length: int = 50,
    before: str | None = None,
) -> pa.Table:
    """Adds to every row the last events of its user, oldest first, as a `Sequence` reads them.

    An event counts for a row only if it happened strictly before the row's time, so no row sees itself, an event of its own
    moment, or anything later. A user whom the log does not know has empty histories.

    Args:
        rows: the rows, in any order.
        events: the log, in any order; it may hold the rows themselves.
        histories: `{name: which events}`: a boolean mask over `events`, or the name of a column that is true or 1 where
            an event belongs to the history.
        user: the column of both tables that says whose row or event it is, of one type in both.
        time: the column of `events` that says when it happened: numbers, or Arrow's dates and timestamps.
        columns: the columns of `events` that describe an event, for example the item's id.
        length: events kept of each history, the last ones.
        before: the column of `rows` that says what is known: events strictly before it count. None takes `time`. The
            midnight before a row, say, gives what a nightly job would know.

    Returns:
        `rows` with a column of lists `{history}_{column}` for every history and every one of `columns`.

    Raises:
        ValueError: a column that is missing, already there or without a value somewhere, a mask of another length, or
            `length < 1`.

    Example:

    >>> import pyarrow as pa
    >>> from tfmtl.data.event_log import add_histories
    >>> log = pa.table({"user": [1, 1, 1, 2], "item": [10, 11, 12, 10], "time": [1, 2, 3, 3], "liked": [0, 1, 0, 0]})
    >>> found = add_histories(log, log, {"liked": "liked"}, user="user", time="time", columns="item")
    >>> found["liked_item"].to_pylist()
    [[], [], [11], []]
    """
    length = check_count("length", length)
    described = (columns,) if isinstance(columns, str) else check_names("columns", columns)
    known_until = time if before is None else before
    _check_columns("rows", rows, [user, known_until])
    _check_columns("events", events, [user, time, *described])
    taken = [
        f"{name}_{column}" for name in histories for column in described if f"{name}_{column}" in rows.column_names
    ]
    if taken:
        raise ValueError(f"`rows` must not hold the columns to add. Received: {taken}")

    row_user, event_user = _codes(rows[user], events[user])
    row_time, event_time = _times(rows[known_until]), _times(events[time])
    for name, which in histories.items():
        kept = np.flatnonzero(_mask(name, which, events))
        kept = kept[np.lexsort((kept, event_time[kept], event_user[kept]))]  # by user, then time, then place in the log
        stop = _count_before(event_user[kept], event_time[kept], row_user, row_time)
        start = np.maximum(np.searchsorted(event_user[kept], row_user), stop - length)
        offsets = np.concatenate([[0], np.cumsum(stop - start, dtype=np.int64)])
        place = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], stop - start)
        for column in described:
            values = events[column].combine_chunks().take(pa.array(kept[place]))
            rows = rows.append_column(f"{name}_{column}", pa.LargeListArray.from_arrays(pa.array(offsets), values))
    return rows


def _check_columns(name: str, table: pa.Table, columns: Iterable[str]) -> None:
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise ValueError(f"`{name}` lacks the columns {missing}. Received: {table.column_names}")


def _codes(rows: pa.ChunkedArray, events: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Both columns of users, numbered alike."""
    if rows.type != events.type:
        raise ValueError(f"Users must be of one type in both tables. Received: {rows.type} and {events.type}")
    for column in (rows, events):
        if column.null_count:
            raise ValueError(f"Every row and event needs a user. Received: {column.null_count} without")
    codes = pa.chunked_array([*rows.chunks, *events.chunks], rows.type).combine_chunks().dictionary_encode()
    numbers = codes.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers[: len(rows)], numbers[len(rows) :]


def _times(column: pa.ChunkedArray) -> np.ndarray:
    if column.null_count:
        raise ValueError(f"Every row and event needs a time. Received: {column.null_count} without")
    return column.to_numpy()


def _mask(name: str, which: Any, events: pa.Table) -> np.ndarray:
    """Which events belong to a history, bool."""
    if isinstance(which, str):
        _check_columns("events", events, [which])
        which = events[which].to_numpy()
    mask = np.asarray(which)
    if mask.shape != (events.num_rows,):
        raise ValueError(
            f"History {name!r} needs a mask of {events.num_rows} events, or a column's name. Received: shape={mask.shape}"
        )
    return np.nan_to_num(mask.astype(np.float32)) > 0


def _count_before(
    event_user: np.ndarray, event_time: np.ndarray, row_user: np.ndarray, row_time: np.ndarray
) -> np.ndarray:
    """For each row how many of the events, sorted by user and time, lie before it in that order."""
    users, times = np.concatenate([event_user, row_user]), np.concatenate([event_time, row_time])
    is_event = np.arange(len(users)) < len(event_user)
    order = np.lexsort((is_event, times, users))  # at one moment rows come first: their own events are not before them
    counted = np.cumsum(is_event[order])
    found = np.empty(len(users), np.int64)
    found[order] = counted
    return found[len(event_user) :]

"""Histories hold what happened before a row, and nothing later."""

import numpy as np
import pyarrow as pa
import pytest

from tfmtl.data.event_log import add_histories


def log(num=400, users=12, seed=0):
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "user": random.integers(0, users, num),
            "item": random.integers(100, 140, num),
            "kind": random.integers(0, 9, num),
            "time": random.integers(0, 60, num),  # many events at one moment
            "liked": random.integers(0, 2, num),
        }
    )


def slowly(rows, events, mask, column, length, before="time"):
    """The same history, row by row."""
    user, time = events["user"].to_numpy(), events["time"].to_numpy()
    values = events[column].to_numpy()
    found = []
    for row_user, until in zip(rows["user"].to_pylist(), rows[before].to_pylist(), strict=True):
        places = np.flatnonzero((user == row_user) & (time < until) & mask)
        places = places[np.lexsort((places, time[places]))]
        found.append(values[places][-length:].tolist())
    return found


@pytest.mark.parametrize("length", [1, 5, 1000])
def test_equals_a_loop_over_the_rows(length):
    events, rows = log(), log(100, users=15, seed=1)
    every, liked = np.ones(400, bool), events["liked"].to_numpy() > 0
    added = add_histories(
        rows,
        events,
        {"seen": every, "liked": "liked"},
        user="user",
        time="time",
        columns=["item", "kind"],
        length=length,
    )
    for history, mask in (("seen", every), ("liked", liked)):
        for column in ("item", "kind"):
            assert added[f"{history}_{column}"].to_pylist() == slowly(rows, events, mask, column, length)
    assert added.select(rows.column_names).equals(rows)


def test_no_row_sees_itself_its_moment_or_its_future():
    """Swapping everything from a moment on for other events changes no history up to it."""
    events = log()
    time = events["time"].to_numpy()
    other = events.set_column(1, "item", pa.array(np.where(time >= 30, 7, events["item"].to_numpy())))
    options = {"user": "user", "time": "time", "columns": "item"}
    histories = {"seen": np.ones(400, bool)}
    one, two = (add_histories(events, e, histories, **options)["seen_item"].to_pylist() for e in (events, other))
    assert [h for h, t in zip(one, time, strict=True) if t <= 30] == [
        h for h, t in zip(two, time, strict=True) if t <= 30
    ]
    assert one != two


def test_before_names_another_moment():
    events = log()
    rows = events.append_column("morning", pa.array(events["time"].to_numpy() // 20 * 20))
    options = {"user": "user", "time": "time", "columns": "item", "before": "morning"}
    found = add_histories(rows, events, {"seen": np.ones(400, bool)}, **options)["seen_item"].to_pylist()
    assert found == slowly(rows, events, np.ones(400, bool), "item", 50, before="morning")


def test_text_users_timestamps_and_chunks():
    events = pa.table(
        {
            "user": pa.chunked_array([["ann", "bob"], ["ann"]]),
            "item": ["x", "y", "z"],
            "time": pa.array([1, 2, 3], pa.timestamp("s")),
        }
    )
    found = add_histories(events, events, {"h": np.ones(3)}, user="user", time="time", columns="item")
    assert found["h_item"].to_pylist() == [[], [], ["x"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": "nobody"}, "lacks the columns"),
        ({"columns": "price"}, "lacks the columns"),
        ({"length": 0}, "length=0"),
        ({"histories": {"h": [True]}}, r"needs a mask of 400 events.*shape=\(1,\)"),
        ({"histories": {"h": "bought"}}, "lacks the columns"),
        ({"rows": log().append_column("h_item", pa.nulls(400))}, "h_item"),
        ({"rows": log().set_column(0, "user", pa.array(["a"] * 400))}, "one type"),
        ({"rows": log().set_column(3, "time", pa.array([None] * 400, pa.int64()))}, "needs a time"),
    ],
)
def test_refuses(change, message):
    given = {"rows": log(), "events": log(), "histories": {"h": np.ones(400)}, "user": "user", "time": "time"}
    given |= {"columns": "item"} | change
    with pytest.raises(ValueError, match=message):
        add_histories(given.pop("rows"), given.pop("events"), given.pop("histories"), **given)

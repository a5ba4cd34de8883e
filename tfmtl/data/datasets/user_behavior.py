"""The log of Taobao UserBehavior as rows with behaviour histories; `tfmtl.data.taobao` reads and splits it in one call.

The public data set (Alibaba, Tianchi data set 649, research use) logs one event a line, without a header:

    user, item, category, behaviour (pv, cart, fav, buy), unix time

from 25 November to 3 December 2017, Beijing time, each user's events complete. It must be downloaded by whoever uses it.

The log holds no impressions: nobody knows what a user was shown and left alone. The tasks are made so as to need none,
or to say openly what stands in for them:

- `view`: the user opens the item now. Every view in the log is a row with label 1. For each, `negatives` items are drawn
  by their popularity before the split, none that the user ever acts on, as rows with label 0. What is learned is to tell
  the viewed item from popular others, not a click-through rate. Beware of item ids on a small sample of users: of 650, in
  training 0.4 % of the viewed and 4 % of the drawn items have no row of their own in the table, in testing 77 % and 8 %,
  so a model that has learned to take such an item for a drawn one ranks the wrong way round.
- `cart`, `fav`, `buy`: the user does so with the viewed item within `horizon` after the view. Defined for views alone (sample
  space `view`) and counted on real ones: the log is complete, so 0 means that it did not happen. Missing where the
  horizon reaches past the split or past the end of the log, because there it is not known or not to be known.

Each row holds the last events of every behaviour strictly before its time. Rows before the split are to train on, the
others to test on.

Example:

```python
from tfmtl.data import adapt, read
from tfmtl.data.datasets import user_behavior

train, test = user_behavior.rows(user_behavior.events("UserBehavior.csv", users=10_000))
schema = adapt(user_behavior.schema(), read(train, user_behavior.schema(), batch_size=4096))
dataset = read(train, schema, batch_size=512, shuffle=True, columns=("user_id",))
```
"""

from os import PathLike, fspath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from tfmtl.paths import local_path
from tfmtl.schema import Categorical, Schema, Sequence, Task

BEHAVIORS = {"pv": "viewed", "cart": "carted", "fav": "favoured", "buy": "bought"}
"""The behaviours of the log, and the histories made of them."""

START, END = 1_511_539_200, 1_512_316_800
"""The nine days of the log. A few events carry other times and are left out."""

_COLUMNS = {
    "user_id": pa.int64(),
    "item_id": pa.int64(),
    "category_id": pa.int64(),
    "behavior": pa.string(),
    "timestamp": pa.int64(),
}
_SPAN = 1 << 22  # seconds: more than the log lasts, so that `group * _SPAN + time` sorts by group, then by time


def events(path: str | PathLike[str], *, users: int | None = None) -> pa.Table:
    """Reads the log, sorted by user and time.

    Args:
        path: the CSV file as published, or a Parquet file with columns user_id, item_id, category_id, behavior, timestamp.
        users: takes this many users, those of the smallest ids; None takes all.

    Raises:
        ValueError: a missing column, a type that does not fit, an unknown behaviour, or no event.
    """
    file = fspath(local_path(path, "path"))
    try:
        if file.endswith((".parquet", ".pq")):
            table = pa_parquet.read_table(file, columns=list(_COLUMNS)).cast(pa.schema(_COLUMNS))
        else:
            names = pa_csv.ReadOptions(column_names=list(_COLUMNS))
            table = pa_csv.read_csv(file, names, convert_options=pa_csv.ConvertOptions(column_types=_COLUMNS))
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"{file}: not a UserBehavior log with columns {list(_COLUMNS)}: {error}") from error
    unknown = sorted(set(table["behavior"].unique().to_pylist()) - set(BEHAVIORS))
    if unknown:
        raise ValueError(f"{file}: behaviours must be among {list(BEHAVIORS)}. Received: {unknown}")
    table = table.filter((pc.field("timestamp") >= START) & (pc.field("timestamp") < END))
    if users is not None:
        ids = np.unique(table["user_id"].to_numpy())
        table = table.filter(pc.field("user_id") < ids[users]) if users < len(ids) else table
    if not table.num_rows:
        raise ValueError(f"{file}: there is no event between {START} and {END}.")
    return table.sort_by([("user_id", "ascending"), ("timestamp", "ascending")])


def schema(*, length: int = 50, dim: int = 16, min_count: int = 2) -> Schema:
    """The features and tasks of `rows`, to be adapted to the training rows.

    Args:
        length: events of a history that a model reads.
        dim: width of every embedding. The item of a row and those of its histories share one table, so do categories.
        min_count: how often an item must occur in rows and histories to get a row of its own in the table.
    """
    item = Categorical(
        "item", vocabulary="adapt", dtype="int64", min_count=min_count, dim=dim, table="item", side="item"
    )
    category = Categorical("category", vocabulary="adapt", dtype="int64", dim=dim, table="category", side="item")
    histories = [Sequence(name, (item, category), length=length, side="user") for name in BEHAVIORS.values()]
    tasks = [Task("view"), *[Task(name, sample_space="view") for name in ("cart", "fav", "buy")]]
    return Schema([item, category, Categorical("hour", num_ids=24, dim=dim), *histories], tasks)


def rows(
    events: pa.Table,
    *,
    length: int = 50,
    negatives: int = 1,
    horizon: int = 6 * 3600,
    split: int = END - 2 * 86_400,
    seed: int = 0,
) -> tuple[pa.Table, pa.Table]:
    """Makes the rows to train on and those to test on, each in the order of time.

    Args:
        events: what `events` gave.
        length: events kept of each history.
        negatives: items drawn for each view.
        horizon: seconds after a view in which a cart, a favourite or a purchase counts.
        split: rows from this time on are to test on; the default leaves the last two days.
        seed: of the drawing.

    Returns:
        Two tables with columns user_id, timestamp, item, category, hour, `{history}_item` and `{history}_category` for
        each of viewed, carted, favoured and bought, and the labels view, cart, fav, buy.

    Raises:
        ValueError: `length`, `negatives` or `horizon` out of range, or no view before the split.
    """
    for name, value, least in (("length", length, 1), ("negatives", negatives, 0), ("horizon", horizon, 1)):
        if value < least:
            raise ValueError(f"`{name}` must be >= {least}. Received: {name}={value}")
    log = _Log(events)
    views = log.where("pv")
    if not (log.time[views] < split).any():
        raise ValueError(f"There is no view before the split. Received: split={split}")

    random = np.random.default_rng(seed)
    row_view, drawn = _draw(log, views, split, negatives, random)
    row_view = np.concatenate([views, row_view])  # the view that a row belongs to
    item = np.concatenate([log.item[views], drawn])
    viewed = np.arange(len(item)) < len(views)

    time = log.time[row_view]
    columns = {
        "user_id": log.user_ids[log.user[row_view]],
        "timestamp": time,
        "item": log.item_ids[item],
        "category": log.category_of[item],
        "hour": (time + 8 * 3600) // 3600 % 24,
        **_histories(log, row_view, length),
        "view": viewed.astype("float32"),
    }
    known = time + horizon < np.where(time < split, split, END)
    for behavior in ("cart", "fav", "buy"):
        happened = _follows(log, behavior, row_view, horizon).astype("float32")
        columns[behavior] = pa.array(happened, mask=~(viewed & known))
    order = np.lexsort((~viewed, row_view, time))
    table = pa.table(columns).take(order)
    before = int(np.searchsorted(time[order], split))
    return table.slice(0, before), table.slice(before)


class _Log:
    """The columns of the log as arrays, users and items numbered from 0."""

    def __init__(self, events: pa.Table):
        self.user_ids, self.user = np.unique(events["user_id"].to_numpy(), return_inverse=True)
        self.item_ids, first, self.item = np.unique(
            events["item_id"].to_numpy(), return_index=True, return_inverse=True
        )
        self.category = events["category_id"].to_numpy()
        self.category_of = self.category[first]  # of each item
        self.time = events["timestamp"].to_numpy()
        self.behavior = np.asarray(events["behavior"].to_pylist())
        self.pair = self.user * len(self.item_ids) + self.item

    def where(self, behavior: str) -> np.ndarray:
        """The events of one behaviour, by user, then by time."""
        return np.flatnonzero(self.behavior == behavior)


def _draw(
    log: _Log, views: np.ndarray, split: int, negatives: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """For each view `negatives` items by popularity before the split, and the view that each was drawn for."""
    popular = log.item[views[log.time[views] < split]]
    acted = np.unique(log.pair)
    view = np.repeat(views, negatives)
    item = random.choice(popular, len(view))
    for _ in range(20):
        taken = np.flatnonzero(np.isin(log.user[view] * len(log.item_ids) + item, acted))
        if not len(taken):
            return view, item
        item[taken] = random.choice(popular, len(taken))
    free = ~np.isin(log.user[view] * len(log.item_ids) + item, acted)  # a user who acts on nearly every item gets fewer
    return view[free], item[free]


def _histories(log: _Log, rows: np.ndarray, length: int) -> dict[str, pa.Array]:
    """The last `length` events of every behaviour strictly before each row, oldest first."""
    columns: dict[str, pa.Array] = {}
    user = log.user[rows].astype("int64") * _SPAN
    for behavior, name in BEHAVIORS.items():
        found = log.where(behavior)
        key = log.user[found].astype("int64") * _SPAN + log.time[found] - START
        stop = np.searchsorted(key, user + log.time[rows] - START)
        start = np.maximum(np.searchsorted(key, user), stop - length)
        offsets = np.concatenate([[0], np.cumsum(stop - start, dtype="int64")])
        place = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], stop - start)
        for column, values in (("item", log.item_ids[log.item]), ("category", log.category)):
            columns[f"{name}_{column}"] = pa.LargeListArray.from_arrays(offsets, values[found[place]])
    return columns


def _follows(log: _Log, behavior: str, rows: np.ndarray, horizon: int) -> np.ndarray:
    """Whether each row's user does so with the item of the row's view within `horizon` after it."""
    found = log.where(behavior)
    key = np.sort(log.pair[found].astype("int64") * _SPAN + log.time[found] - START)
    view = log.pair[rows].astype("int64") * _SPAN + log.time[rows] - START
    following = np.searchsorted(key, view, side="right")
    return np.append(key, np.iinfo("int64").max)[following] <= view + horizon

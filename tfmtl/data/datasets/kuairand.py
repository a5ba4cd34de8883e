"""KuaiRand-Pure: what users of a short-video feed were shown and did, with features of users and videos.

Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos", CIKM 2022,
https://kuairand.com, CC BY-SA 4.0.
"""

from collections.abc import Iterable
from datetime import date
from os import PathLike
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from tfmtl.checks import check_count, check_names, check_option
from tfmtl.data.datasets.joined import joined
from tfmtl.data.datasets.published import Published, folder_of, missing_files
from tfmtl.data.datasets.split import Split
from tfmtl.data.event_log import add_histories
from tfmtl.progress import Verbose
from tfmtl.schema import Categorical, Feature, Numeric, Schema, Sequence, TargetRates, Task
from tfmtl.typing import Side

Known: TypeAlias = Literal["row", "day"]

PUBLISHED = Published(
    name="kuairand_pure",
    url="https://zenodo.org/records/10439422/files/KuaiRand-Pure.tar.gz",
    files=("log_standard_*_pure.csv", "user_features_pure.csv", "video_features_basic_pure.csv"),
    page="https://kuairand.com",
    digest="md5:0820331067a3784d9691136f772b35a7",
)
"""The archive, and the digest that its page on Zenodo states."""

FIRST_DAY, VALID_DAY, TEST_DAY = date(2022, 4, 25), date(2022, 5, 5), date(2022, 5, 6)
"""Rows to train on begin here; the next two are the days to choose and to report on."""

TASKS = {
    "click": "is_click",
    "long_view": "long_view",
    "like": "is_like",
    "profile_enter": "is_profile_enter",
    "follow": "is_follow",
    "comment": "is_comment",
    "forward": "is_forward",
}
"""The column of the log that labels each task."""

HISTORIES = {"watched": None, "liked": "is_like", "watched_long": "long_view"}
"""The histories, and which events of the log they hold; None: all."""

_RATED: dict[str, Side] = {"user_id": "user", "video_id": "item", "author_id": "item", "first_tag": "item"}
_READY = {"watched": "watch_seq", "liked": "like_seq", "watched_long": "long_watch_seq"}
_LOG = {
    name: pa.int64()
    for name in ("user_id", "video_id", "date", "hourmin", "time_ms", "duration_ms", "tab", *TASKS.values())
}
_USER_NUMBERS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
_USER_CODES = ("is_lowactive_period", "is_live_streamer", "is_video_author", *(f"onehot_feat{i}" for i in range(18)))
_USER_TEXTS = (
    "user_active_degree",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
)
_VIDEO_CODES = ("author_id", "music_id", "music_type", "visible_status")
_VIDEO_TEXTS = ("video_type", "upload_type")
_VIDEO_NUMBERS = ("video_duration", "server_width", "server_height")


def kuairand(
    folder: str | PathLike[str] | None = None,
    *,
    tasks: Iterable[str] = ("click", "long_view", "like", "profile_enter"),
    known: Known = "day",
    length: int = 50,
    dim: int = 16,
    min_count: int = 5,
    target_rates: bool = True,
    verbose: Verbose = "auto",
) -> Split:
    """Reads KuaiRand-Pure, joins users, videos and histories, and splits it by day, without leaks.

    Rows of 25 April to 4 May 2022 are to train on, 5 May is to choose settings with, 6 May to report on. Each row holds
    the features of its user and video, the scenario (`tab`), hour and weekday, the video's age, and the user's last videos:
    watched, liked and watched long; and, learned by `adapt` from the rows to train on and out of fold, how often the labels of its
    user, video, author and first tag were positive. Left out is what a feed cannot know beforehand: every label, `play_time_ms` and the
    other times spent, and the statistics that the data set counts over the whole month.

    Args:
        folder: where `log_standard_*_pure.csv`, `user_features_pure.csv` and `video_features_basic_pure.csv` lie, as
            published, or the same tables as `kuairand_log.parquet`, `kuairand_users.parquet`, `kuairand_videos.parquet` and,
            where the log begins on 25 April, `kuairand_histories.parquet` with what lies before. None downloads 45 MB, once, into
            `TFMTL_DATA` or the user's cache folder.
        tasks: which of click, long_view, like, profile_enter, follow, comment and forward.
        known: what histories may hold: `"day"`, events of the days before the row's, as a nightly job knows them, or
            `"row"`, all events before the row.
        length: events of a history.
        dim: width of every embedding.
        min_count: how often a video, author, music or tag must occur to get a row of its own in the tables.
        target_rates: whether there are `TargetRates` among the features.
        verbose: whether the download shows its progress; `"auto"`: in a terminal.

    Returns:
        Schema and rows; `user_id` is a feature and a column to group by (`evaluate(group="user_id")`).

    Raises:
        FileNotFoundError: a folder that does not hold the tables.
        ConnectionError: no network, or no answer.
        ValueError: an unknown task or option, a table without the columns of the data set, or an archive with another digest.

    Example:

    ```python
    split = tfmtl.data.kuairand("KuaiRand-Pure/data")
    schema = tfmtl.adapt(split.schema, tfmtl.read(split.train, split.schema, batch_size=4096))
    ```
    """
    names = check_names("tasks", [tasks] if isinstance(tasks, str) else tasks)
    unknown = sorted(set(names) - set(TASKS))
    if unknown:
        raise ValueError(f"`tasks` must be among {list(TASKS)}. Received: {unknown}")
    check_option("known", known, Known)
    check_count("length", length)
    log, users, videos, older = _tables(folder_of(PUBLISHED, folder, verbose))
    days = log["date"].to_numpy()
    first, valid, test = (int(day.strftime("%Y%m%d")) for day in (FIRST_DAY, VALID_DAY, TEST_DAY))
    rows = log.filter(pa.array((days >= first) & (days <= test)))
    if not rows.num_rows:
        raise ValueError(f"{folder}: the log holds no row between {FIRST_DAY} and {TEST_DAY}.")
    rows = _with_context(rows)
    rows = _with_histories(rows, log, older, known, length)
    rows = joined(joined(rows, users, "user_id"), videos, "video_id")
    rows = _with_age(rows)
    days = rows["date"].to_numpy()
    parts = (days < valid, days == valid, days == test)
    schema = _schema(names, length=length, dim=dim, min_count=min_count, target_rates=target_rates)
    return Split(schema, *(rows.filter(pa.array(part)) for part in parts))


def _schema(tasks: tuple[str, ...], *, length: int, dim: int, min_count: int, target_rates: bool) -> Schema:
    def ids(name: str, side: Side, least: int = 1, table: str | None = None) -> Categorical:
        return Categorical(name, vocabulary="adapt", dtype="int64", min_count=least, dim=dim, table=table, side=side)

    video = ids("video_id", "item", min_count, "video")
    features: list[Feature] = [ids("user_id", "user", min_count), video]
    features += [ids(name, "user") for name in _USER_CODES]
    features += [Categorical(name, vocabulary="adapt", dim=dim, side="user") for name in _USER_TEXTS]
    features += [Numeric(name, transform="buckets", dim=dim, side="user") for name in _USER_NUMBERS]
    features += [ids(name, "item", min_count if name.endswith("_id") else 1) for name in _VIDEO_CODES]
    features += [Categorical(name, vocabulary="adapt", dim=dim, side="item") for name in _VIDEO_TEXTS]
    features += [Numeric(name, transform="buckets", dim=dim, side="item") for name in (*_VIDEO_NUMBERS, "age_days")]
    features += [Sequence("tags", (ids("tag", "item", min_count),), length=8, prefix="", side="item")]
    features += [
        ids("tab", "context"),
        *(Categorical(n, num_ids=k, dim=dim) for n, k in (("hour", 24), ("weekday", 7))),
    ]
    features += [Sequence(name, (video,), length=length, side="user") for name in HISTORIES]
    if target_rates:
        features += [
            TargetRates(f"{column}_rates", column=column, fold_columns=("user_id", "video_id"), side=side)
            for column, side in _RATED.items()
        ]
    return Schema(features, [Task(name, label=TASKS[name]) for name in tasks])


def _tables(folder: Path) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table | None]:
    """Log, users, videos and, where they are given, the histories before the log."""
    if (folder / "kuairand_log.parquet").is_file():
        log, users, videos = (folder / f"kuairand_{name}.parquet" for name in ("log", "users", "videos"))
        older = folder / "kuairand_histories.parquet"
        logs = [log]
    else:
        logs = sorted(folder.glob("log_standard_*_pure.csv"))
        users, videos = folder / "user_features_pure.csv", folder / "video_features_basic_pure.csv"
        older = folder / "none"
    missing = [file.name for file in (users, videos) if not file.is_file()] + (
        [] if logs else ["log_standard_*_pure.csv"]
    )
    if missing:
        raise missing_files(folder, missing, "KuaiRand-Pure", PUBLISHED.page)
    log = pa.concat_tables([_read(file, list(_LOG)).cast(pa.schema(_LOG)) for file in logs])
    user_columns = ["user_id", *_USER_NUMBERS, *_USER_CODES, *_USER_TEXTS]
    video_columns = ["video_id", *_VIDEO_CODES, *_VIDEO_TEXTS, *_VIDEO_NUMBERS, "upload_dt", "tag"]
    ready = _read(older, ["user_id", *_READY.values()]) if older.is_file() else None
    return log, _typed(_read(users, user_columns)), _typed(_read(videos, video_columns)), ready


def _read(file: Path, columns: list[str]) -> pa.Table:
    try:
        if file.suffix == ".parquet":
            return pa_parquet.read_table(file, columns=columns)
        texts = dict.fromkeys(("tag", "upload_dt"), pa.string())
        options = pa_csv.ConvertOptions(include_columns=columns, column_types=texts, strings_can_be_null=True)
        return pa_csv.read_csv(file, convert_options=options)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise ValueError(f"{file} is no table of KuaiRand-Pure with the columns {columns}: {error}") from error


def _typed(table: pa.Table) -> pa.Table:
    """Codes that CSV and pandas left as floats, because some are missing, as integers."""
    for place, name in enumerate(table.column_names):
        if name in (*_USER_CODES, *_VIDEO_CODES) and pa.types.is_floating(table[name].type):
            table = table.set_column(place, name, pc.cast(table[name], pa.int64()))
    return table


def _with_context(rows: pa.Table) -> pa.Table:
    hour = pc.cast(pc.divide(rows["hourmin"], 100), pa.int64())
    days = [date(number // 10_000, number // 100 % 100, number % 100) for number in rows["date"].to_pylist()]
    return (
        rows.append_column("hour", hour)
        .append_column("weekday", pa.array([day.weekday() for day in days]))
        .append_column("day", pa.array(days, pa.date32()))
    )


def _with_histories(rows: pa.Table, log: pa.Table, older: pa.Table | None, known: Known, length: int) -> pa.Table:
    """What the log holds before each row, after what lies before the log."""
    masks = {name: np.ones(log.num_rows, bool) if which is None else which for name, which in HISTORIES.items()}
    rows = rows.append_column("known_until_ms", pa.array(_known_until(rows, log, known)))
    rows = add_histories(
        rows, log, masks, user="user_id", time="time_ms", columns="video_id", length=length, before="known_until_ms"
    )
    if older is None:
        return rows
    place = pc.index_in(rows["user_id"], value_set=older["user_id"].combine_chunks())
    for name, ready in _READY.items():
        column = f"{name}_video_id"
        first = older[ready].take(place).to_pylist()
        joined = [((a or []) + b)[-length:] for a, b in zip(first, rows[column].to_pylist(), strict=True)]
        rows = rows.set_column(rows.column_names.index(column), column, pa.array(joined, pa.large_list(pa.int64())))
    return rows


def _known_until(rows: pa.Table, log: pa.Table, known: Known) -> np.ndarray:
    """The time that what a history holds lies before; `date` and `time_ms` of the log differ by up to an hour or two."""
    if known == "row":
        return rows["time_ms"].to_numpy()
    day, logged, time = (table.to_numpy() for table in (rows["date"], log["date"], log["time_ms"]))
    begins = {one: time[logged >= one].min() for one in np.unique(day)}
    return np.array([begins[one] for one in day])


def _with_age(rows: pa.Table) -> pa.Table:
    """The video's age at the row's day, its tags as lists of ids, and the first of them."""
    uploaded = pc.cast(pc.strptime(rows["upload_dt"], format="%Y-%m-%d", unit="s", error_is_null=True), pa.date32())
    age = pc.cast(pc.days_between(uploaded, rows["day"]), pa.float32())
    tags = [[int(tag) for tag in text.split(",") if tag] if text else [] for text in rows["tag"].to_pylist()]
    rows = rows.drop_columns(["upload_dt", "day", "known_until_ms"])
    rows = rows.append_column("first_tag", pa.array([tag[0] if tag else None for tag in tags], pa.int64()))
    return rows.append_column("age_days", age).set_column(
        rows.column_names.index("tag"), "tag", pa.array(tags, pa.large_list(pa.int64()))
    )

"""A video feed whose truth is known, in the files of KuaiRand-Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from tfmtl.checks import check_count
from tfmtl.data.datasets.kuairand import TEST_DAY

TRUTH = "truth.csv"
"""Beside the log: for every row the probability of each label."""

TRUE_TASKS = ("click", "long_view", "like", "forward")

_DAYS = 15  # the last three days before training are there for histories only
_WIDTH = 6
_TABS = np.array([0.55, 0.2, 0.15, 0.1])  # shares of the scenarios


def short_video(
    folder: str | PathLike[str],
    *,
    users: int = 2500,
    videos: int = 1500,
    rows_per_user: int = 26,
    seed: int = 0,
) -> Path:
    """Writes a feed of short videos as KuaiRand-Pure's files, made by functions that are known.

    A user has a taste, a patience and a generosity, none of which is a column; a video has a place among the tastes, a
    quality, a depth and a wit. With `s = taste . place`, over rows that were shown:

    ```
    P(click)             = sigmoid(-0.6 + 1.3 s + 0.7 quality + scenario)
    P(long_view | click) = sigmoid(0.2 + 0.5 s + 1.2 depth + 0.7 patience)
    P(like | click)      = sigmoid(-4.2 + 0.9 s + 0.6 quality + 0.8 generosity)
    P(forward | click)   = sigmoid(-4.6 + 0.4 s - 1.0 depth + 1.0 wit + 0.8 generosity)
    ```

    Nothing happens without a click: the labels of later steps are 0 there, as the log of a feed has them. `like` and
    `forward` have 1 to 3 % of positives. `long_view` and `forward` are in conflict: what is deep is watched to its end
    and not forwarded. Columns tell of all this with noise: a user's group of its taste, a video's tag, author and length. 3 % of the users
    are new on the day to report on. Histories, which hold what a user clicked and liked, tell of the taste.

    Args:
        folder: where the files are written; made if it is not there.
        users: of the feed.
        videos: of the feed.
        rows_per_user: on average, over all days; users differ.
        seed: of everything.

    Returns:
        The folder, for `tfmtl.data.kuairand(folder)`; `truth.csv` in it holds for every row of the log, by `user_id` and `time_ms`,
        the probability of click, long_view, like and forward.

    Raises:
        ValueError: a count below 1, or so few that a day has no row.

    Example:

    ```python
    split = tfmtl.data.kuairand(tfmtl.data.short_video("feed"), tasks=("click", "long_view", "like", "forward"))
    ```
    """
    count_users, count_videos = check_count("users", users), check_count("videos", videos)
    random = np.random.default_rng(seed)
    people, films = _people(random, count_users), _films(random, count_videos)
    log, truth = _log(random, people, films, check_count("rows_per_user", rows_per_user))
    if len(np.unique(log["date"])) < _DAYS:
        raise ValueError(f"Every day needs a row. Received: users={users}, rows_per_user={rows_per_user}")
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    pa_csv.write_csv(log, path / "log_standard_4_22_to_5_06_pure.csv")
    pa_csv.write_csv(_user_columns(random, people), path / "user_features_pure.csv")
    pa_csv.write_csv(_video_columns(films), path / "video_features_basic_pure.csv")
    pa_csv.write_csv(truth, path / TRUTH)
    return path


@dataclass(frozen=True)
class _People:
    taste: np.ndarray  # (users, _WIDTH)
    group: np.ndarray  # of the taste
    patience: np.ndarray
    generosity: np.ndarray
    activity: np.ndarray  # shares of the rows
    is_new: np.ndarray


@dataclass(frozen=True)
class _Films:
    place: np.ndarray  # (videos, _WIDTH), unit length
    tag: np.ndarray
    author: np.ndarray
    quality: np.ndarray
    depth: np.ndarray
    wit: np.ndarray
    popularity: np.ndarray  # shares of the rows
    seconds: np.ndarray
    uploaded: np.ndarray  # days before the last day


def _people(random: np.random.Generator, count: int) -> _People:
    groups = random.normal(size=(12, _WIDTH))
    group = random.integers(0, 12, count)
    taste = 0.7 * groups[group] + 0.7 * random.normal(size=(count, _WIDTH))
    activity = random.gamma(1.5, size=count)
    return _People(
        taste=taste,
        group=group,
        patience=random.normal(size=count),
        generosity=random.normal(size=count),
        activity=activity / activity.sum(),
        is_new=np.arange(count) >= count - max(1, round(0.03 * count)),
    )


def _films(random: np.random.Generator, count: int) -> _Films:
    tags, authors = 30, max(1, count // 6)
    author_tag, tag_place = random.integers(0, tags, authors), random.normal(size=(tags, _WIDTH))
    author = random.integers(0, authors, count)
    tag = np.where(random.random(count) < 0.8, author_tag[author], random.integers(0, tags, count))
    place = tag_place[tag] + 0.6 * random.normal(size=(count, _WIDTH))
    depth = 0.6 * random.normal(size=tags)[tag] + 0.8 * random.normal(size=count)
    popularity = random.pareto(1.5, count) + 0.05
    return _Films(
        place=place / np.linalg.norm(place, axis=1, keepdims=True),
        tag=tag,
        author=author,
        quality=0.6 * random.normal(size=authors)[author] + 0.8 * random.normal(size=count),
        depth=depth,
        wit=0.8 * random.normal(size=authors)[author] + 0.6 * random.normal(size=count),
        popularity=popularity / popularity.sum(),
        seconds=np.exp(3.0 + 0.6 * depth + 0.4 * random.normal(size=count)),
        uploaded=random.integers(_DAYS, 75, count),
    )


def _log(random: np.random.Generator, people: _People, films: _Films, rows_per_user: int) -> tuple[pa.Table, pa.Table]:
    """The log in the order of time, and the probabilities of its labels."""
    count = len(people.activity) * rows_per_user
    user = random.choice(len(people.activity), count, p=people.activity)
    video = random.choice(len(films.popularity), count, p=films.popularity)
    tab = random.choice(len(_TABS), count, p=_TABS)
    day = random.integers(0, _DAYS, count)
    day = np.where(people.is_new[user], _DAYS - 1, day)
    seconds = np.sort(day * 86_400 + random.integers(0, 86_400, count))
    order = np.argsort(day, kind="stable")  # rows of a day in any order, days in theirs
    user, video, tab = user[order], video[order], tab[order]

    truth = _probabilities(people, films, user, video, tab)
    happened = {}
    uniform = {name: random.random(count) for name in truth}
    happened["click"] = uniform["click"] < truth["click"]
    for name in TRUE_TASKS[1:]:
        happened[name] = happened["click"] & (uniform[name] < truth[name] / truth["click"])

    first = TEST_DAY - timedelta(days=_DAYS - 1)
    start = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp())
    days = np.array([int(f"{first + timedelta(days=i):%Y%m%d}") for i in range(_DAYS)])
    time_ms = (start + seconds) * 1000 + np.arange(count) % 1000  # so that no two rows of a user share a time
    watched = np.where(happened["click"], random.random(count) * 0.8, 0.1) * films.seconds[video] * 1000
    zeros = np.zeros(count, "int64")
    log = {
        "user_id": user,
        "video_id": video,
        "date": days[seconds // 86_400],
        "hourmin": seconds % 86_400 // 3600 * 100,
        "time_ms": time_ms,
        "is_click": happened["click"].astype("int64"),
        "is_like": happened["like"].astype("int64"),
        "is_follow": zeros,
        "is_comment": zeros,
        "is_forward": happened["forward"].astype("int64"),
        "is_hate": zeros,
        "long_view": happened["long_view"].astype("int64"),
        "play_time_ms": watched.astype("int64"),
        "duration_ms": (films.seconds[video] * 1000).astype("int64"),
        "profile_stay_time": zeros,
        "comment_stay_time": zeros,
        "is_profile_enter": zeros,
        "is_rand": zeros,
        "tab": tab,
    }
    return pa.table(log), pa.table({"user_id": user, "time_ms": time_ms, **truth})


def _probabilities(
    people: _People, films: _Films, user: np.ndarray, video: np.ndarray, tab: np.ndarray
) -> dict[str, np.ndarray]:
    """Of every label over all rows: of later steps the product with the probability of a click."""
    s = (people.taste[user] * films.place[video]).sum(axis=1)
    quality, depth, wit = films.quality[video], films.depth[video], films.wit[video]
    patience, generosity = people.patience[user], people.generosity[user]
    scenario = np.array([0.0, 0.8, -0.8, 0.4])[tab]
    click = _sigmoid(-0.6 + 1.3 * s + 0.7 * quality + scenario)
    return {
        "click": click,
        "long_view": click * _sigmoid(0.2 + 0.5 * s + 1.2 * depth + 0.7 * patience),
        "like": click * _sigmoid(-4.2 + 0.9 * s + 0.6 * quality + 0.8 * generosity),
        "forward": click * _sigmoid(-4.6 + 0.4 * s - 1.0 * depth + 1.0 * wit + 0.8 * generosity),
    }


def _user_columns(random: np.random.Generator, people: _People) -> pa.Table:
    """What is known of a user: the group of the taste for two of three, the rest says little or nothing."""
    count = len(people.group)
    group = np.where(random.random(count) < 2 / 3, people.group, random.integers(0, 12, count))
    follows = np.round(np.exp(2 + 0.5 * people.generosity + random.normal(size=count))).astype("int64")
    numbers = {
        "follow_user_num": follows,
        "fans_user_num": random.integers(0, 50, count),
        "friend_user_num": random.integers(0, 20, count),
        "register_days": np.where(people.is_new, 0, random.integers(1, 900, count)),
    }
    columns = {
        "user_id": np.arange(count),
        "user_active_degree": np.where(people.activity * count > 1, "full_active", "middle_active"),
        "is_lowactive_period": np.zeros(count, "int64"),
        "is_live_streamer": random.integers(0, 2, count),
        "is_video_author": random.integers(0, 2, count),
        **numbers,
        **{f"{name}_range": _range(values) for name, values in numbers.items()},
        "onehot_feat0": group,
        **{f"onehot_feat{i}": random.integers(0, 4, count) for i in range(1, 18)},
    }
    return pa.table(columns)


def _video_columns(films: _Films) -> pa.Table:
    count = len(films.tag)
    uploaded = [f"{TEST_DAY - timedelta(days=int(days)):%Y-%m-%d}" for days in films.uploaded]
    columns = {
        "video_id": np.arange(count),
        "author_id": films.author,
        "video_type": ["NORMAL"] * count,
        "upload_dt": uploaded,
        "upload_type": np.where(films.seconds > np.median(films.seconds), "LongImport", "ShortImport"),
        "visible_status": np.ones(count),
        "video_duration": np.round(films.seconds * 1000),
        "server_width": np.full(count, 720.0),
        "server_height": np.full(count, 1280.0),
        "music_id": films.author * 3,
        "music_type": np.full(count, 9.0),
        "tag": [str(tag) for tag in films.tag],
    }
    return pa.table(columns)


def _range(numbers: np.ndarray) -> list[str]:
    """As the data set writes it: half-open, in powers of two."""
    low = np.where(numbers > 0, 2 ** np.floor(np.log2(np.maximum(numbers, 1))), 0).astype("int64")
    return [f"[{a},{max(2 * a, 1)})" for a in low]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))

"""KuaiRand as published (CSV), on rows made here in its format: joined, split by day, without leaks."""

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import pytest

from tfmtl.data import adapt, read
from tfmtl.data.datasets import kuairand
from tfmtl.data.datasets.kuairand import TASKS

DAYS = [20220420, 20220424, 20220425, 20220503, 20220504, 20220505, 20220506, 20220507]
START = 1_650_000_000_000
FLAGS = ("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view", "is_profile_enter")


def log():
    random = np.random.default_rng(0)
    days = np.repeat(DAYS, 40)
    columns = {
        "user_id": random.integers(0, 6, len(days)),
        "video_id": random.integers(0, 10, len(days)),
        "date": days,
        "hourmin": random.integers(0, 24, len(days)) * 100,
        "time_ms": START + np.arange(len(days)) * 1000,
        **{name: random.integers(0, 2, len(days)) for name in FLAGS},
        **dict.fromkeys(("play_time_ms", "duration_ms", "profile_stay_time", "comment_stay_time", "is_rand"), days),
        "tab": random.integers(0, 3, len(days)),
    }
    return pa.table(columns)


def users():
    ids = np.arange(5)  # user 5 is not described
    columns = {"user_id": ids, "user_active_degree": ["full_active"] * 5}
    columns |= dict.fromkeys(("is_lowactive_period", "is_live_streamer", "is_video_author"), ids % 2)
    for name in ("follow_user_num", "fans_user_num", "friend_user_num", "register_days"):
        columns |= {name: ids * 10, f"{name}_range": [f"[{i},{i + 1})" for i in ids]}
    columns |= {f"onehot_feat{i}": ids for i in range(12)}
    columns |= {f"onehot_feat{i}": pa.array([1.0, None, 0.0, 1.0, 0.0]) for i in range(12, 18)}
    return pa.table(columns)


def videos():
    ids = np.arange(10)
    return pa.table(
        {
            "video_id": ids,
            "author_id": ids // 2,
            "video_type": ["NORMAL"] * 10,
            "upload_dt": ["2022-04-10"] * 9 + [None],
            "upload_type": ["Web", "LongImport"] * 5,
            "visible_status": [0.0] * 10,
            "video_duration": ids * 1000.0,
            "server_width": [720.0] * 10,
            "server_height": [1280.0] * 10,
            "music_id": ids,
            "music_type": [9.0] * 9 + [None],
            "tag": ["1", "1,2", "39", None, "2,39", "1", "1", "1", "1", "1"],
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files as they are published, the log in two."""
    path = tmp_path_factory.mktemp("KuaiRand-Pure")
    table = log()
    early = table["date"].to_numpy() < 20220422
    for name, part in (("4_08_to_4_21", early), ("4_22_to_5_08", ~early)):
        pa_csv.write_csv(table.filter(pa.array(part)), path / f"log_standard_{name}_pure.csv")
    pa_csv.write_csv(users(), path / "user_features_pure.csv")
    pa_csv.write_csv(videos(), path / "video_features_basic_pure.csv")
    return path


@pytest.fixture(scope="module")
def split(folder):
    return kuairand(folder, tasks=("click", "like"), min_count=1)


def test_splits_by_day(split):
    days = [sorted(set(part["date"].to_pylist())) for part in (split.train, split.valid, split.test)]
    assert days == [[20220425, 20220503, 20220504], [20220505], [20220506]]


def test_rows_are_joined_with_users_and_videos(split):
    row = next(row for row in split.test.to_pylist() if row["user_id"] == 3 and row["video_id"] == 4)
    assert (row["follow_user_num"], row["author_id"], row["tag"], row["age_days"]) == (30, 2, [2, 39], 26.0)
    unknown = next(row for row in split.test.to_pylist() if row["user_id"] == 5)
    assert unknown["follow_user_num"] is None and unknown["onehot_feat12"] is None


@pytest.mark.parametrize("known", ["day", "row"])
def test_histories_hold_what_was_known(folder, known):
    table, found = log(), kuairand(folder, known=known, min_count=1, length=1000).test
    user, time, video, liked, day = (table[c].to_numpy() for c in ("user_id", "time_ms", "video_id", "is_like", "date"))
    for row in found.to_pylist()[::7]:
        before = (user == row["user_id"]) & (day < row["date"] if known == "day" else time < row["time_ms"])
        assert row["watched_video_id"] == video[before].tolist()
        assert row["liked_video_id"] == video[before & (liked == 1)].tolist()
    assert sum(map(len, found["liked_video_id"].to_pylist())) > 0


def test_no_label_and_no_time_spent_is_a_feature(split):
    forbidden = {*TASKS.values(), "is_hate", "play_time_ms", "profile_stay_time", "comment_stay_time"}
    assert not forbidden & set(split.schema.feature_columns)
    assert set(split.schema.label_columns) == {"is_click", "is_like"}


def test_is_adapted_and_read(split):
    schema = adapt(split.schema, read(split.train, split.schema, batch_size=50))
    x, y = next(iter(read(split.test, schema, batch_size=40)))
    assert schema.is_adapted and set(y) == {"click", "like"}
    assert x["watched_video_id"].shape == (40, 50) and x["tag"].shape == (40, 8)


def test_parquet_beside_the_histories_before_the_log(folder, split, tmp_path):
    """The log from 25 April on and ready histories say what the whole log says."""
    table = log()
    late = table.filter(pa.array(table["date"].to_numpy() >= 20220425))
    early = table.filter(pa.array(table["date"].to_numpy() < 20220425))
    ready = {"user_id": list(range(6))}
    for name, column in (("watch_seq", None), ("like_seq", "is_like"), ("long_watch_seq", "long_view")):
        ready[name] = [
            [r["video_id"] for r in early.to_pylist() if r["user_id"] == user and (column is None or r[column])]
            for user in range(6)
        ]
    for name, content in (("log", late), ("users", users()), ("videos", videos()), ("histories", pa.table(ready))):
        pa_parquet.write_table(content, tmp_path / f"kuairand_{name}.parquet")
    found = kuairand(tmp_path, tasks=("click", "like"), min_count=1)
    assert found.schema == split.schema
    for one, other in zip((found.train, found.valid, found.test), (split.train, split.valid, split.test), strict=True):
        assert one.to_pylist() == other.to_pylist()


def test_refuses(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks .*user_features_pure.csv.*kuairand.com"):
        kuairand(tmp_path)
    with pytest.raises(ValueError, match=r"must be among .*Received: \['share'\]"):
        kuairand(folder, tasks=["share"])
    with pytest.raises(ValueError, match="known='hour'"):
        kuairand(folder, known="hour")
    (tmp_path / "log_standard_x_pure.csv").write_text("user_id,video_id\n1,2\n")
    for name in ("user_features_pure.csv", "video_features_basic_pure.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ValueError, match="no table of KuaiRand-Pure"):
        kuairand(tmp_path)


def test_rates_are_learned_of_the_rows_to_train_on(split, folder):
    schema = adapt(split.schema, read(split.train, split.schema, batch_size=32))
    rates = {feature.name: feature for feature in schema.features if feature.name.endswith("_rates")}
    assert set(rates) == {"user_id_rates", "video_id_rates", "author_id_rates", "first_tag_rates"}
    users, clicks = split.train["user_id"].to_numpy(), split.train["is_click"].to_numpy()
    feature = rates["user_id_rates"]
    counted = feature.counted().sum(axis=0)[feature.vocabulary.index(3), feature.tasks.index("click")]
    assert counted.tolist() == [clicks[users == 3].sum(), (users == 3).sum()]
    assert split.train["first_tag"].to_pylist()[:5] == [
        tag[0] if tag else None for tag in split.train["tag"].to_pylist()[:5]
    ]
    without = kuairand(folder, tasks=("click", "like"), min_count=1, target_rates=False).schema
    assert not [feature for feature in without.features if feature.name.endswith("_rates")]

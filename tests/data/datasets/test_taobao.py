"""Rows from a log in Taobao's format, against a reference that looks at one row at a time."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from tfmtl.data.adapting import adapt
from tfmtl.data.datasets import taobao, user_behavior
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read

SPLIT, END = user_behavior.END - 2 * 86_400, user_behavior.END
HORIZON = 6 * 3600


def log(seed=0, num_events=600):
    """Events in the published format: unsorted, some at the same second, some outside the nine days."""
    rng = np.random.default_rng(seed)
    item = rng.integers(1, 60, num_events)
    return {
        "user_id": rng.choice([7, 100, 5_000_000], num_events),
        "item_id": item * 1000,
        "category_id": item % 5 + 10,
        "behavior": rng.choice(list(user_behavior.BEHAVIORS), num_events, p=[0.7, 0.1, 0.1, 0.1]),
        "timestamp": np.concatenate(
            [rng.integers(user_behavior.START, END, num_events - 3) // 600 * 600, [0, END, END + 99]]
        ),
    }


@pytest.fixture(params=["csv", "parquet"])
def path(request, tmp_path):
    columns = log()
    path = tmp_path / f"UserBehavior.{request.param}"
    if request.param == "csv":
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in zip(*columns.values(), strict=True)))
    else:
        pa_parquet.write_table(pa.table(columns), path)
    return path


def test_reads_the_log_by_user_and_time(path):
    events = user_behavior.events(path)
    expected = sorted(zip(*log().values(), strict=True), key=lambda event: (event[0], event[4]))
    expected = [event for event in expected if user_behavior.START <= event[4] < END]
    found = events.to_pylist()
    assert [(e["user_id"], e["timestamp"]) for e in found] == [(e[0], e[4]) for e in expected]
    assert sorted(tuple(e.values()) for e in found) == sorted(map(tuple, expected))
    assert set(user_behavior.events(path, users=2)["user_id"].to_pylist()) == {7, 100}
    assert user_behavior.events(path, users=9).equals(events)


@pytest.fixture(scope="module")
def events():
    columns = log()
    keep = (columns["timestamp"] >= user_behavior.START) & (columns["timestamp"] < END)
    return pa.table({name: values[keep] for name, values in columns.items()}).sort_by(
        [("user_id", "ascending"), ("timestamp", "ascending")]
    )


def test_histories_and_labels_follow_the_log(events):
    train, test = user_behavior.rows(events, length=4, horizon=HORIZON, split=SPLIT, negatives=2, seed=1)
    assert max(train["timestamp"].to_pylist()) < SPLIT <= min(test["timestamp"].to_pylist())
    logged = events.to_pylist()
    for row in train.to_pylist()[::5] + test.to_pylist()[::5]:
        user, now = row["user_id"], row["timestamp"]
        mine = [event for event in logged if event["user_id"] == user]
        for behavior, name in user_behavior.BEHAVIORS.items():
            past = [e for e in mine if e["behavior"] == behavior and e["timestamp"] < now][-4:]
            assert row[f"{name}_item"] == [e["item_id"] for e in past]
            assert row[f"{name}_category"] == [e["category_id"] for e in past]
        assert row["category"] == row["item"] // 1000 % 5 + 10
        assert row["hour"] == (now // 3600 + 8) % 24
        touched = [e for e in mine if e["item_id"] == row["item"]]
        assert bool(touched) == (row["view"] == 1)
        end = SPLIT if now < SPLIT else END
        for behavior in ("cart", "fav", "buy"):
            if row["view"] == 0 or now + HORIZON >= end:
                assert row[behavior] is None
            else:
                after = [e for e in touched if e["behavior"] == behavior and now < e["timestamp"] <= now + HORIZON]
                assert row[behavior] == bool(after)


def test_every_view_is_a_row_and_draws_its_negatives(events):
    train, test = user_behavior.rows(events, negatives=3, split=SPLIT)
    for table, inside in ((train, lambda t: t < SPLIT), (test, lambda t: t >= SPLIT)):
        views = [
            (e["user_id"], e["item_id"], e["timestamp"])
            for e in events.to_pylist()
            if e["behavior"] == "pv" and inside(e["timestamp"])
        ]
        rows = table.to_pylist()
        assert sorted((r["user_id"], r["item"], r["timestamp"]) for r in rows if r["view"]) == sorted(views)
        assert sum(r["view"] == 0 for r in rows) <= 3 * len(views)
        assert table["timestamp"].to_pylist() == sorted(table["timestamp"].to_pylist())


def test_drawing_depends_on_the_seed_alone(events):
    first, again, other = (user_behavior.rows(events, seed=seed)[0] for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
    positives = [table.filter(table["view"].to_numpy() == 1) for table in (first, other)]
    for column in ("item", "buy", "viewed_item"):
        assert str(positives[0][column]) == str(positives[1][column])


def test_draws_by_popularity():
    """One user views item 1 three times as often as item 2; another draws them in that proportion."""
    views = [(1, 1), (1, 1), (1, 1), (1, 2)] * 500 + [(2, 3)] * 2000
    users, items = np.array(views).T
    time = np.full(len(views), user_behavior.START + 5)
    events = pa.table(
        {"user_id": users, "item_id": items, "category_id": items, "behavior": ["pv"] * len(views), "timestamp": time}
    )
    train, _ = user_behavior.rows(events, negatives=1)
    drawn = train.filter((train["user_id"].to_numpy() == 2) & (train["view"].to_numpy() == 0))["item"].to_numpy()
    assert set(drawn) == {1, 2}
    assert np.mean(drawn == 1) == pytest.approx(0.75, abs=0.04)


def test_rows_go_through_schema_reader_and_preprocessor(events):
    train, test = user_behavior.rows(events, length=8)
    schema = user_behavior.schema(length=5, dim=4)
    schema = adapt(schema, read(train, schema, batch_size=64))
    assert schema.feature("item").vocabulary == schema.feature("viewed").fields[0].vocabulary
    x, y = next(
        iter(
            read(test, schema, batch_size=32, columns=("user_id",)).map(
                Preprocessor(schema.features, passthrough=("user_id",))
            )
        )
    )
    assert x["viewed_item"].shape == (32, 5)
    assert x["bought_mask"].dtype == np.int32
    assert set(y) == {"view", "cart", "fav", "buy"}
    assert np.isnan(y["cart"].numpy()[y["view"].numpy() == 0]).all()


def test_refuses_what_is_no_log(tmp_path):
    path = tmp_path / "UserBehavior.csv"
    path.write_text("1,2,3,pv,1511658000\n1,2,3,like,1511658000\n")
    with pytest.raises(ValueError, match=r"behaviours must be among .*Received: \['like'\]"):
        user_behavior.events(path)
    path.write_text("1,2,3,pv\n")
    with pytest.raises(ValueError, match="not a UserBehavior log"):
        user_behavior.events(path)
    path.write_text("1,2,3,pv,12\n")
    with pytest.raises(ValueError, match="no event between"):
        user_behavior.events(path)
    pa_parquet.write_table(pa.table({"user_id": [1]}), tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"log.parquet: not a UserBehavior log with columns \['user_id', 'item_id'"):
        user_behavior.events(tmp_path / "log.parquet")


def test_refuses_arguments(events):
    for arguments in ({"length": 0}, {"negatives": -1}, {"horizon": 0}):
        name, value = next(iter(arguments.items()))
        with pytest.raises(ValueError, match=f"{name}={value}"):
            user_behavior.rows(events, **arguments)
    with pytest.raises(ValueError, match="no view before the split"):
        user_behavior.rows(events, split=user_behavior.START)


def test_the_folder_split_by_day(tmp_path):
    columns = log()
    pa_parquet.write_table(pa.table(columns), tmp_path / "taobao_log.parquet")
    split = taobao(tmp_path, length=4, dim=4)
    bounds = [
        (part["timestamp"].to_numpy().min(), part["timestamp"].to_numpy().max())
        for part in (split.train, split.valid, split.test)
    ]
    assert bounds[0][1] < SPLIT - 86_400 <= bounds[1][0] and bounds[1][1] < SPLIT <= bounds[2][0]
    assert split.schema.task_names == ("view", "cart", "fav", "buy")
    with pytest.raises(FileNotFoundError, match=r"lacks .*UserBehavior.csv.*tianchi"):
        taobao(tmp_path / "empty")

"""Schemas: what they know, what they refuse, and their JSON."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task, TaskGrid

ITEM = Categorical("item", num_ids=10, table="items")
SCHEMA = Schema(
    [
        Categorical("city", vocabulary=["Oslo", "Rome"], side="user"),
        Categorical("shop", vocabulary=(3, 7)),
        Categorical("query", hash_buckets=100, dtype="int64"),
        Categorical("learned", vocabulary="adapt", min_count=2),
        Numeric("age", transform="buckets", boundaries=(1, 2.5)),
        Numeric("size", size=2, mean=(0, 1), std=(1, 2)),
        ITEM,
        Sequence("seen", (ITEM, Categorical("kind", num_ids=3)), length=4, pooling="sum"),
    ],
    [
        Task("click"),
        Task("buy", sample_space=("click", 1), label=("action", "buy"), weight=2.0, weight_decay=0.9),
        Task("watch", "regression"),
    ],
)


def test_json_round_trip():
    restored = Schema.from_json(SCHEMA.to_json())
    assert restored == SCHEMA and hash(restored) == hash(SCHEMA)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SCHEMA.features[0].dim = 3


def test_what_a_schema_knows():
    assert SCHEMA.task_names == ("click", "buy", "watch")
    assert SCHEMA.label_columns == ("click", "action", "watch")
    assert SCHEMA.feature_columns[-2:] == ("seen_item", "seen_kind")
    assert not SCHEMA.is_adapted
    assert SCHEMA.with_tasks(["watch"]).task_names == ("watch",)
    assert [f.rows for f in SCHEMA.features[:3]] == [3, 3, 101]
    assert SCHEMA.feature("age").rows == 4
    assert [f.dtype for f in SCHEMA.features[:4]] == ["string", "int64", "int64", None]


def test_a_history_reads_the_columns_that_are_there():
    genres = Sequence("film", (Categorical("genres", num_ids=20),), length=5, prefix="")
    assert genres.columns == ("genres",) and genres.mask == "film_mask"
    assert Schema.from_json(Schema([genres], [Task("click")]).to_json()).features == (genres,)


@pytest.mark.parametrize("make", [np.array, pd.Series, list], ids=["array", "series", "list"])
def test_vocabularies_and_counts_of_numpy_are_plain(make):
    assert Categorical("a", vocabulary=make(["x", "y"])).vocabulary == ("x", "y")
    shop = Categorical("b", vocabulary=make(np.array([3, 7])), dim=np.int64(4))
    assert [type(value) for value in (*shop.vocabulary, shop.dim)] == [int] * 3
    assert json.loads(Schema([shop], [Task("click")]).to_json())["features"][0]["vocabulary"] == [3, 7]


def test_encoded_features_keep_their_rows_and_nothing_else():
    for feature in SCHEMA.features[:3]:
        assert feature.encoded().rows == feature.rows
        assert feature.encoded().vocabulary is None
    assert SCHEMA.feature("age").encoded() == Categorical("age", num_ids=3, dim=16)
    assert SCHEMA.feature("size").encoded().mean is None
    assert SCHEMA.feature("seen").encoded() == SCHEMA.feature("seen")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical("a"), r"exactly one of .* Received: \[\]"),
        (lambda: Categorical("a", num_ids=3, hash_buckets=2), "exactly one"),
        (lambda: Categorical("a", num_ids=0), "num_ids=0"),
        (lambda: Categorical("a", num_ids=3, dim=0), "dim=0"),
        (lambda: Categorical("a", vocabulary=()), "at least one"),
        (lambda: Categorical("a", vocabulary=("x", 1)), "strings only or integers only"),
        (lambda: Categorical("a", vocabulary=("x", "x")), "a value twice"),
        (lambda: Categorical("a", vocabulary=("", "x")), "marks a missing id"),
        (lambda: Categorical("a", vocabulary=(-1, 4)), "marks a missing id"),
        (lambda: Categorical("a", vocabulary=("x",), dtype="int64"), "dtype='int64'"),
        (
            lambda: Categorical("a", hash_buckets=3, dtype="int32"),
            r"`dtype` of 'a' must be one of \(None, 'string', 'int64'\). Received: dtype='int32'",
        ),
        (lambda: Categorical("a", num_ids=3, dtype="string"), "must be 'int64' or None. Received: dtype='string'"),
        (lambda: Categorical("a", num_ids=3, min_count=2), "min_count"),
        (lambda: Categorical("a", vocabulary="learn"), "must be 'adapt' or hold the categories"),
        (lambda: Categorical("a", num_ids=True), "num_ids=True"),
        (lambda: Categorical("a", num_ids=3.0), "num_ids=3.0"),
        (lambda: Categorical("user id", num_ids=3), "name='user id'"),
        (lambda: Categorical("class", num_ids=3), "word of Python"),
        (lambda: Numeric("self"), "word of Python"),
        (lambda: Categorical("a", num_ids=3, side="left"), "side='left'"),
        (lambda: Categorical("a", vocabulary="adapt").rows, "never adapted"),
        (lambda: Numeric("a", transform="sqrt"), "transform='sqrt'"),
        (lambda: Numeric("a", transform="buckets", size=2), "size=2"),
        (lambda: Numeric("a", transform="buckets", boundaries=(1, 1)), "increase"),
        (lambda: Numeric("a", mean=(0,), std=(0,)), "std > 0"),
        (lambda: Numeric("a", size=2, mean=0.0, std=1.0), "2 finite numbers each"),
        (lambda: Numeric("a").encoded(), "mean of 'a' was never adapted: call"),
        (lambda: Numeric("a", flag_missing="no"), "flag_missing='no'"),
        (lambda: Numeric("a", flag_missing=0), "flag_missing=0"),
        (lambda: Numeric("a", mean=(0,)), "both"),
        (lambda: Numeric("a", transform="buckets").rows, "adapt"),
        (lambda: Numeric("a", boundaries=(18, 30)), r"\['boundaries'\] of 'a' go with transform='buckets'"),
        (lambda: Numeric("a", transform="log1p", mean=(0,), std=(1,)), "go with transform='standardize'"),
        (lambda: Numeric("a", size=None), "size=None"),
        (lambda: Categorical("a", num_ids=3, dim=None), "dim=None"),
        (lambda: Categorical("a", vocabulary={"x", "y"}), "must have an order.*Received: a set"),
        (lambda: Sequence("a", (ITEM,), length=None), "length=None"),
        (lambda: Sequence("a", (), length=3), "one `Categorical` or more"),
        (lambda: Sequence("a", (ITEM,), length=0), "length=0"),
        (lambda: Sequence("a", ITEM, length=2), r"`fields` of 'a' must be a list.*Received: fields=Categorical\("),
        (lambda: Sequence("a", (ITEM, ITEM), length=2), "same name"),
        (lambda: Sequence("a", (Categorical("mask", num_ids=2),), length=2), "mask"),
        (lambda: Sequence("a", (Categorical("a_mask", num_ids=2),), length=2, prefix=""), "'a_mask'"),
        (lambda: Sequence("a", (ITEM,), length=2, prefix="1_"), "name='1_item'"),
        (lambda: Sequence("a", (ITEM,), length=2, pooling="last"), "pooling='last'"),
        (lambda: Schema([ITEM, Sequence("a", (ITEM,), length=2, prefix="")], [Task("b")]), "same name"),
        (lambda: Task("shared"), "'shared'"),
        (lambda: Task("rank"), r"Received: name='rank'.*Task\('my_rank', label='rank'\)"),
        (lambda: Task("serving_ids"), "signatures and outputs of an export"),
        (lambda: Task("a", "ranking"), "kind='ranking'"),
        (lambda: Task("a", weight=-1), "weight=-1"),
        (lambda: Task("a", weight_decay=0), "weight_decay=0"),
        (lambda: Task("a", "regression", label=("b", 1)), "0 or 1"),
        (lambda: Task("a", label=3), "label=3"),
        (lambda: Schema([], [Task("a")]), "0 features"),
        (lambda: Schema(ITEM, [Task("a")]), r"`features` must be a list.*Received: features=Categorical\("),
        (lambda: Schema([ITEM], Task("a")), r"`tasks` must be a list.*Received: tasks=Task\("),
        (lambda: SCHEMA.with_tasks("click"), "`names` must be a list.*Received: names='click'"),
        (lambda: Schema([ITEM], []), "0 tasks"),
        (lambda: Schema([ITEM, ITEM], [Task("a")]), "same name"),
        (lambda: Schema([ITEM], [Task("a"), Task("a")]), "same name"),
        (lambda: Schema([ITEM], [Task("item")]), "predict itself"),
        (lambda: Schema([ITEM, Categorical("b", num_ids=11, table="items")], [Task("a")]), "share table 'items'"),
        (lambda: Schema(["item"], [Task("a")]), "Received: 'item'"),
        (lambda: Schema([ITEM], ["a"]), "`tasks` must be `Task`s"),
        (
            lambda: Schema([Numeric("b", transform="buckets"), Categorical("c", num_ids=2, table="b")], [Task("a")]),
            "'c' cannot share table 'b'",
        ),
        (lambda: SCHEMA.task("like"), "known:"),
        (lambda: SCHEMA.feature("like"), "known:"),
        (lambda: Schema.from_json('{"features": [{"kind": "image", "name": "a"}], "tasks": []}'), "kind='image'"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_scalars_of_numpy_become_pythons_own():
    task = Task("a", weight=np.float32(0.5), sample_space=("group", np.int64(1)))
    schema = Schema([ITEM], [task])
    assert Schema.from_json(schema.to_json()) == schema
    grid = TaskGrid([Task("a")], {"x": np.int64(1), "y": np.int64(2)}, "group", weights={"x": np.float32(1), "y": 2})
    assert TaskGrid.from_json(grid.to_json()) == grid


def test_a_number_is_the_statistic_of_one():
    assert Numeric("a", mean=3.0, std=1) == Numeric("a", mean=(3.0,), std=(1.0,))
    assert Numeric("a", mean=np.float32(3), std=np.ones(1)).mean == (3.0,)
    assert Numeric("a", size=2, mean=np.zeros(2), std=np.ones(2)).std == (1.0, 1.0)

"""TaskGrid, and the sample spaces that its tasks need."""

from dataclasses import replace

import pytest

from tfmtl.schema import Categorical, Numeric, Schema, Task, TaskGrid

BEHAVIORS = (
    Task("watch", "regression", weight=2.0),
    Task("buy", label=("action", "buy"), sample_space=("click", 1), weight_decay=0.9),
)
GROUPS = {"new": "n", "low": "l", "high": "h"}
GRID = TaskGrid(BEHAVIORS, GROUPS, "segment")


def test_tasks_take_over_what_their_behaviour_says():
    names = ["watch_new", "watch_low", "watch_high", "buy_new", "buy_low", "buy_high"]
    assert [task.name for task in GRID.tasks] == names
    watch, buy = GRID.tasks[0], GRID.tasks[5]
    assert watch == Task("watch_new", "regression", label="watch", sample_space=("segment", "n"), weight=2.0)
    assert buy.sample_space == (("click", 1), ("segment", "h"))
    assert buy.label == ("action", "buy") and buy.weight_decay == 0.9
    assert buy.columns == ("action", "click", "segment")


def test_facets_cells_and_groups_name_the_same_tasks():
    assert GRID.facets == {"behavior": ("watch", "buy"), "group": ("new", "low", "high")}
    assert [task for tasks in GRID.cells.values() for task in tasks.values()] == [task.name for task in GRID.tasks]
    units = GRID.by_group({"new": (32,), "low": (64,), "high": (128, 64)})
    assert units == {
        "watch_new": (32,), "watch_low": (64,), "watch_high": (128, 64),
        "buy_new": (32,), "buy_low": (64,), "buy_high": (128, 64),
    }  # fmt: skip


def test_weights_of_groups():
    grid = TaskGrid(BEHAVIORS, GROUPS, "segment", weights={"high": 0.7, "low": 0.2, "new": 0.1})
    assert [task.weight for task in grid.tasks] == pytest.approx([0.2, 0.4, 1.4, 0.1, 0.2, 0.7])


def test_json_round_trip():
    grid = TaskGrid(BEHAVIORS, {"new": 0, "old": 1}, "segment", weights={"new": 0.5, "old": 2.0})
    restored = TaskGrid.from_json(grid.to_json())
    assert restored == grid and hash(restored) == hash(grid)
    schema = Schema([Numeric("age")], grid.tasks)
    assert Schema.from_json(schema.to_json()) == schema
    assert Schema.from_dict(schema.to_dict()) == schema


def test_replaces_a_field():
    grid = TaskGrid(BEHAVIORS, GROUPS, "segment", weights={"high": 0.7, "low": 0.2, "new": 0.1})
    other = replace(grid, column="tier")
    assert other == TaskGrid(BEHAVIORS, GROUPS, "tier", weights=dict(grid.weights))
    assert [task.weight for task in other.tasks] == [task.weight for task in grid.tasks]


def test_the_schema_to_serve():
    age, segment = Numeric("age"), Categorical("segment", vocabulary=("h", "l", "n", "x"))
    assert GRID.served(Schema([age, segment], GRID.tasks)) == Schema([age, segment], BEHAVIORS)
    added = GRID.served(Schema([age], GRID.tasks)).feature("segment")
    assert added.vocabulary == ("n", "l", "h") and added.side == "user"


@pytest.mark.parametrize(
    ("space", "conditions"),
    [
        (None, ()),
        ("click", ("click",)),
        (("city", "Rome"), (("city", "Rome"),)),
        (["click", ["city", "Rome"]], ("click", ("city", "Rome"))),
        ([("city", "Rome")], (("city", "Rome"),)),
        (("click", "seen", "new"), ("click", "seen", "new")),
    ],
    ids=str,
)
def test_a_sample_space_is_one_condition_or_several(space, conditions):
    task = Task("buy", sample_space=space)
    assert task.conditions == conditions
    assert task.columns == ("buy", *(c if isinstance(c, str) else c[0] for c in conditions))
    assert hash(task) == hash(Task("buy", sample_space=space))


@pytest.mark.parametrize("space", [(), 3, ("a", None), [("a", "b", "c")], [["a", ["b", 1]]]], ids=str)
def test_refuses_sample_spaces(space):
    with pytest.raises(ValueError, match="several of these"):
        Task("buy", sample_space=space)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TaskGrid([], GROUPS, "segment"), "0 behaviors"),
        (lambda: TaskGrid(Task("a"), GROUPS, "segment"), "`behaviors` must be a list"),
        (lambda: TaskGrid(BEHAVIORS, {}, "segment"), "0 groups"),
        (lambda: TaskGrid(["buy"], GROUPS, "segment"), r"must be `Task`s"),
        (lambda: TaskGrid([Task("a"), Task("a")], GROUPS, "segment"), "Two behaviors have the same name"),
        (lambda: TaskGrid([Task("a"), Task("a_b")], {"b_c": 1, "c": 2}, "segment"), "name='a_b_c' twice"),
        (lambda: TaskGrid(BEHAVIORS, {"18-24": 1}, "segment"), "name='watch_18-24'"),
        (lambda: TaskGrid(BEHAVIORS, {"new": "n", "old": "n"}, "segment"), "a value twice"),
        (lambda: TaskGrid(BEHAVIORS, {"new": "n", "old": 1}, "segment"), "strings only or integers only"),
        (lambda: TaskGrid(BEHAVIORS, {"new": -1}, "segment"), "marks a missing id"),
        (lambda: TaskGrid(BEHAVIORS, GROUPS, "user segment"), "name='user segment'"),
        (lambda: TaskGrid(BEHAVIORS, GROUPS, "segment", weights={"new": 1.0}), r"every group .* Received: \['new'\]"),
        (lambda: GRID.by_group({**GROUPS, "all": 1}), "must name every group"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""Rows that are held in memory: the same whatever order they came in, in batches of any order, with what belongs to them."""

import numpy as np
import pytest
import tensorflow as tf
from training.models import TASKS, batches, rows

from tfmtl.schema import Task
from tfmtl.training.held_rows import HeldRows

X, Y = rows(100)
X = {**X, "history": np.arange(300, dtype="int32").reshape(100, 3), "name": np.array([f"n{i}" for i in range(100)])}


def held(dataset=None, columns=("a", "b", "user"), tasks=TASKS, **options):
    return HeldRows(batches(X, Y, 32) if dataset is None else dataset, columns, tasks, **options)


def read_back(found, **options):
    """All rows as `(a, history, labels)` in the order of the batches."""
    parts = list(found.batches(30, ["a", "history"], ["click", "sale"], **options))
    assert [len(y["click"]) for _, y, *_ in parts] == [30, 30, 30, 10]
    x = {name: np.concatenate([part[0][name] for part in parts]) for name in ("a", "history")}
    return x["a"], x["history"], {task: np.concatenate([part[1][task] for part in parts]) for task in ("click", "sale")}


def test_every_row_comes_with_what_belongs_to_it():
    a, history, labels = read_back(held())
    place = {value: row for row, value in enumerate(X["a"].tolist())}
    order = [place[value] for value in a.tolist()]
    assert sorted(order) == list(range(100))
    np.testing.assert_array_equal(history, X["history"][order])
    for task in labels:
        np.testing.assert_array_equal(labels[task], Y[task][order])


def test_the_order_of_arrival_does_not_matter():
    first, again = held(), held(batches(X, Y, 32).unbatch().shuffle(100, seed=3).batch(7))
    assert first.fingerprint == again.fingerprint
    np.testing.assert_array_equal(read_back(first)[0], read_back(again)[0])


@pytest.mark.parametrize("changed", ["x", "history", "label", "row", "weight", "text"])
def test_the_fingerprint_is_of_all_that_is_held(changed):
    x, y = {name: values.copy() for name, values in X.items()}, {name: values.copy() for name, values in Y.items()}
    rest = ()
    if changed == "x":
        x["a"][5] += 1e-6
    elif changed == "history":
        x["history"][5] = x["history"][5][::-1]
    elif changed == "label":
        y["click"][5] = 1 - y["click"][5]
    elif changed == "row":
        x, y = ({name: values[:99] for name, values in part.items()} for part in (x, y))
    elif changed == "text":
        x["name"] = x["name"].astype(object)
        x["name"][5] += "\x00"
    else:
        rest = (np.ones(100, "float32"),)
    columns = ("a", "b", "user", "name")
    other = held(tf.data.Dataset.from_tensor_slices((x, y, *rest)).batch(32), columns)
    assert other.fingerprint != held(columns=columns).fingerprint


def test_a_seed_makes_another_order_at_every_pass_and_the_same_ones_again():
    found = held()
    dataset = found.batches(30, ["a"], ["click"], seed=5)
    passes = [np.concatenate([x["a"] for x, _ in dataset]) for _ in range(2)]
    same = found.batches(30, ["a"], ["click"], seed=5)
    other = found.batches(30, ["a"], ["click"], seed=6)
    assert dataset.cardinality() == 4 and (passes[0] != passes[1]).any()
    for expected in passes:
        np.testing.assert_array_equal(np.concatenate([x["a"] for x, _ in same]), expected)
    assert (np.concatenate([x["a"] for x, _ in other]) != passes[0]).any()
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(X["a"])


def test_groups_are_numbers_and_no_group_is_none():
    def grouped(values, **options):
        dataset = tf.data.Dataset.from_tensor_slices(({**X, "group": values}, Y)).batch(32)
        return held(dataset, group="group", **options).groups

    for values, missing in ((np.array(["", *"ab" * 49, "a"]), 1), (np.array([-1, *[3, 0] * 49, 3]), 1)):
        groups = grouped(values)
        assert (groups == -1).sum() == missing and sorted(np.bincount(groups[groups >= 0])) == [49, 50]
    rows_of_a_table = grouped(np.array([0, *[1, 2] * 49, 1], "int32"), is_encoded=True)
    assert (rows_of_a_table == -1).sum() == 1


def test_weights_of_all_tasks_or_of_each():
    of_all = np.linspace(0, 1, 100, dtype="float32")
    for given in (of_all, {"click": of_all, "sale": of_all, "price": 2 * of_all}):
        found = held(tf.data.Dataset.from_tensor_slices((X, Y, given)).batch(32))
        (_, _, weights), *_ = found.batches(100, ["a"], ["click"])
        assert set(weights) == {"click"} and sorted(weights["click"].numpy()) == pytest.approx(of_all.tolist())
        assert found.weights["price"].max() == (2 if isinstance(given, dict) else 1)
    assert held().weights is None


def test_text_is_held_where_it_is_read():
    found = held(columns=["name"])
    (x,), *_ = found.batches(100, ["name"])
    assert sorted(x["name"].numpy().tolist()) == sorted(X["name"].astype(bytes).tolist())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: held([(X, Y)]), r"`dataset` must give \(x, y\).*list"),
        (lambda: held(batches(X, Y, 32).repeat(), name="train"), "`train` never ends"),
        (lambda: held(batches(X, Y, 32).take(0)), "gave no batch"),
        (lambda: held(columns=["zip"]), r"columns that `dataset` lacks: \['zip'\]"),
        (lambda: held(tasks=[Task("buy")]), r"no labels of tasks \['buy'\].*'click'"),
        (lambda: held(group="zip"), "`group` must be a column of x.*'zip'"),
        (
            lambda: held(batches(X, {**Y, "click": np.full(100, 2, "float32")}, 32)),
            "labels of `click` must be 0, 1 or NaN",
        ),
        (
            lambda: held(tf.data.Dataset.from_tensor_slices((X, Y, np.full(100, -1, "float32"))).batch(32)),
            "sample weights of .* must be finite and >= 0",
        ),
        (
            lambda: held(
                batches(X, Y, 32).map(lambda x, y: ({**x, "a": tf.RaggedTensor.from_tensor(x["history"])}, y))
            ),
            "Rows of column 'a' must all have one shape",
        ),
    ],
)
def test_what_cannot_be_held_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""GroupRouting: each row from its own group, and a stated answer for everyone else."""

import numpy as np
import pytest
import tensorflow as tf
from harness import gradients, ops

from tfmtl.layers.group_routing import GroupRouting

CELLS = {"watch": {"new": "watch_new", "old": "watch_old"}, "skip": {"old": "skip_old", "new": "skip_new"}}
ROWS = {"new": 3, "old": 1}
GROUP = np.array([3, 1, 0, 2, -1, 10**6], "int32")


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    return {task: rng.random((len(GROUP), 1)).astype("float32") for tasks in CELLS.values() for task in tasks.values()}


@pytest.mark.parametrize("unknown", ["mean", "old"])
def test_answers_from_the_group_of_the_row(answers, unknown):
    routed = GroupRouting(CELLS, ROWS, unknown=unknown)([answers, GROUP])
    assert set(routed) == {"watch", "skip"}
    for behavior, y in routed.items():
        new, old = answers[f"{behavior}_new"], answers[f"{behavior}_old"]
        rest = (new + old) / 2 if unknown == "mean" else old
        expected = np.concatenate([new[:1], old[1:2], rest[2:]])
        assert y.shape == (len(GROUP), 1)
        np.testing.assert_allclose(np.asarray(y), expected, rtol=1e-6)
        np.testing.assert_array_equal(np.asarray(y)[:2], expected[:2])  # the tower's own number, to the bit


def test_the_classes_of_a_task_go_together():
    answers = {task: np.random.default_rng(0).dirichlet([1, 1, 1], len(GROUP)) for task in ("watch_new", "watch_old")}
    layer = GroupRouting({"watch": CELLS["watch"]}, ROWS)
    y = np.asarray(layer([answers, GROUP])["watch"])
    new, old = answers["watch_new"], answers["watch_old"]
    np.testing.assert_allclose(y, np.concatenate([new[:1], old[1:2], (new + old)[2:] / 2]), rtol=1e-6)
    assert layer.compute_output_shape([dict.fromkeys(answers, (None, 3)), (None,)]) == {"watch": (None, 3)}


def test_a_broken_tower_spoils_its_own_group_only(answers):
    answers["watch_new"][:] = np.nan
    watch = np.asarray(GroupRouting(CELLS, ROWS, unknown="old")([answers, GROUP])["watch"])
    np.testing.assert_array_equal(np.isnan(watch[:, 0]), GROUP == 3)


def test_the_gradient_goes_to_the_group_of_the_row(answers):
    variables = {task: tf.Variable(y) for task, y in answers.items()}
    layer = GroupRouting(CELLS, ROWS, unknown="old")

    def loss():
        return ops.sum(layer([{task: tf.identity(y) for task, y in variables.items()}, GROUP])["watch"])

    found = dict(zip(variables, gradients(loss, list(variables.values())), strict=True))
    np.testing.assert_array_equal(found["watch_new"][:, 0], [1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(found["watch_old"][:, 0], [0, 1, 1, 1, 1, 1])
    assert found["skip_new"] is None


def test_float32_under_every_policy(answers):
    layer = GroupRouting(CELLS, ROWS, dtype="mixed_float16")
    tiny = {task: np.full_like(y, 1e-8) for task, y in answers.items()}
    y = layer([tiny, GROUP])["skip"]
    np.testing.assert_allclose(np.asarray(y), 1e-8)
    again = GroupRouting.from_config(layer.get_config())
    np.testing.assert_array_equal(
        np.asarray(again([answers, GROUP])["skip"]), np.asarray(layer([answers, GROUP])["skip"])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cells": {}}, "one behaviour or more"),
        ({"rows": {}}, "one behaviour or more"),
        ({"rows": {"new": 1, "low": 2}}, r"behaviours that differ: \['watch', 'skip'\]"),
        ({"rows": {"new": 1, "old": 1}}, "Two groups have one row"),
        ({"unknown": "median"}, r"one of \['new', 'old'\]. Received: unknown='median'"),
        ({"cells": {"a": {"mean": "a_mean"}}, "rows": {"mean": 1}}, "rename the group"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        GroupRouting(**{"cells": CELLS, "rows": ROWS, **arguments})


def test_names_the_missing_task(answers):
    del answers["skip_old"]
    with pytest.raises(ValueError, match=r"lack tasks \['skip_old'\]"):
        GroupRouting(CELLS, ROWS)([answers, GROUP])


def test_the_column_may_be_a_column_of_ones(answers):
    expected = GroupRouting(CELLS, ROWS)([answers, GROUP])["skip"]
    np.testing.assert_array_equal(
        np.asarray(GroupRouting(CELLS, ROWS)([answers, GROUP[:, None]])["skip"]), np.asarray(expected)
    )
    with pytest.raises(ValueError, match=r"must be \(B,\) or \(B, 1\). Received: shape=\(6, 2\)"):
        GroupRouting(CELLS, ROWS)([answers, np.stack([GROUP] * 2, -1)])

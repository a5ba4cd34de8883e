"""FeedbackBalance by hand, and as slices of `evaluate`."""

import numpy as np
import pytest

from tfmtl.analysis import FeedbackBalance
from tfmtl.spec import Categorical, Schema, Task

SCHEMA = Schema([Categorical("user", num_ids=9)], [Task("finish"), Task("like"), Task("watch", "regression")])
NAN = float("nan")
USERS = np.array([1, 1, 1, 2, 2, 2, 3, 3])
FINISH = np.array([1, 1, 1, 0, 0, NAN, 1, 0])
LIKE = np.array([0, 0, NAN, 1, 1, 1, 0, 1])


def test_sorts_users_by_their_balance():
    balance = FeedbackBalance(
        ({"user": USERS}, {"finish": FINISH, "like": LIKE}), SCHEMA, tasks=("finish", "like"), group="user", edge=0.3
    )
    np.testing.assert_allclose(balance.balance, [4 / 5, 1 / 5, 2 / 4])
    parts = balance({"user": np.array([3, 2, 1, 7])})
    assert list(parts) == ["comparable", "like_dominant", "finish_dominant", "unseen"]


def test_reads_batches_of_strings_and_takes_thirds_by_default():
    users = np.array([b"a", b"b", b"c"])
    batches = [({"user": users}, {"finish": np.array([[1.0], [0.0], [0.0]]), "like": np.array([0.0, 1.0, 0.0])})] * 2
    balance = FeedbackBalance(batches, SCHEMA, tasks=("finish", "like"), group="user")
    assert list(balance({"user": users})) == ["finish_dominant", "like_dominant", "comparable"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ("finish", "finish")}, "two binary tasks"),
        ({"tasks": ("finish", "watch")}, "two binary tasks"),
        ({"edge": 0.7}, "edge=0.7"),
        ({"group": "city"}, "group='city'"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        FeedbackBalance(
            ({"user": USERS}, {"finish": FINISH, "like": LIKE}),
            SCHEMA,
            **{"tasks": ("finish", "like"), "group": "user", **options},
        )


def test_refuses_nothing():
    with pytest.raises(ValueError, match="no row"):
        FeedbackBalance([], SCHEMA, tasks=("finish", "like"), group="user")

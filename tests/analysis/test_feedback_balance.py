"""FeedbackBalance by hand, and as slices of `evaluate`."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.analysis import FeedbackBalance
from tfmtl.schema import Categorical, Schema, Task

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


def test_rows_without_a_user_are_nobody():
    """As in `evaluate`: row 0 of an encoded feature, "" and -1 of a raw one."""
    users = np.array([0, 0, 0, 1, 1, 2])
    y = {"finish": np.array([1, 1, 1, 0, 0, 1]), "like": np.array([0, 0, 0, 1, 1, 0])}
    options = {"schema": SCHEMA, "tasks": ("finish", "like"), "edge": 0.4}
    encoded = FeedbackBalance(({"user": users}, y), group="user", **options)
    assert list(encoded({"user": np.array([0, 1, 2])})) == ["unseen", "like_dominant", "finish_dominant"]
    for raw in (users - 1, np.array(["", "a", "b"])[users]):
        balance = FeedbackBalance(({"user_id": raw}, y), group="user_id", **options)
        assert list(balance({"user_id": raw[[0, 3, 5]]})) == ["unseen", "like_dominant", "finish_dominant"]
    raw = FeedbackBalance(({"user": users}, y), group="user", encoded=False, **options)
    assert list(raw({"user": users[[0, 3]]})) == ["finish_dominant", "like_dominant"]
    with pytest.raises(ValueError, match="no row with a user"):
        FeedbackBalance(({"user": users * 0}, y), group="user", **options)


@pytest.mark.parametrize("other", [np.array(["a", "b", "\u00e9", "c"]), np.array(["a", "b", "\u00e9", "c"], object)])
def test_strings_and_the_bytes_of_tf_data_are_the_same_users(other):
    y = {"finish": np.array([1, 0, 0, 1]), "like": np.array([0, 1, 0, 0])}
    read = tf.constant(other)
    for train, test in ((other, read), (read, other)):
        balance = FeedbackBalance(({"user": train}, y), SCHEMA, tasks=("finish", "like"), group="user", edge=0.4)
        parts = balance({"user": test})
        assert list(parts) == ["finish_dominant", "like_dominant", "comparable", "finish_dominant"]


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


@pytest.mark.parametrize(
    "users",
    [
        np.array([1, 1, NAN, NAN, 2]),
        np.array(["a", "a", None, None, "b"], object),
        np.array([b"a", b"a", NAN, None, b"b"], object),
        np.array([1, 1, None, NAN, 2], object),
    ],
    ids=["float", "string", "bytes", "object"],
)
def test_no_value_is_no_user(users):
    y = {"finish": np.array([1, 1, 1, 1, 0]), "like": np.array([0, 0, 0, 0, 1])}
    balance = FeedbackBalance(({"user": users}, y), SCHEMA, tasks=("finish", "like"), group="user", edge=0.4)
    assert len(balance.users) == 2
    parts = ["finish_dominant", "finish_dominant", "unseen", "unseen", "like_dominant"]
    assert list(balance({"user": users})) == parts


def test_bytes_that_are_no_text_stay_apart():
    users = np.array([b"\xff", b"\xfe"], object)
    y = {"finish": np.array([1, 0]), "like": np.array([0, 1])}
    balance = FeedbackBalance(({"user": users}, y), SCHEMA, tasks=("finish", "like"), group="user", edge=0.4)
    assert list(balance({"user": users})) == ["finish_dominant", "like_dominant"]


def test_takes_weights_and_leaves_them_out():
    y = {"finish": FINISH, "like": LIKE}
    options = {"schema": SCHEMA, "tasks": ("finish", "like"), "group": "user"}
    weighted = tf.data.Dataset.from_tensor_slices(({"user": USERS}, y, np.ones(8))).batch(3)
    plain = FeedbackBalance(({"user": USERS}, y), **options)
    np.testing.assert_array_equal(FeedbackBalance(weighted, **options).balance, plain.balance)

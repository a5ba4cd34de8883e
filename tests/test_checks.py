"""One wording for what is refused of arguments."""

from typing import Literal

import numpy as np
import pytest

from tfmtl.checks import check_count, check_dropout, check_option, check_units

Fruit = Literal["apple", "pear"]


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_counts_become_plain_integers(value):
    assert type(check_count("num", value)) is int
    assert check_units("units", value) == check_units("units", [value]) == (3,)
    assert check_units("units", np.array([value, 2])) == (3, 2)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, np.True_, "1", None, np.array([1, 2])])
def test_what_is_no_count(value):
    with pytest.raises(ValueError, match=r"`num` must be an integer >= 1. Received: num="):
        check_count("num", value)
    with pytest.raises(ValueError, match=r"`units` must hold integers >= 1. Received: units="):
        check_units("units", [2, value])


def test_the_least_count():
    assert check_count("num", 0, least=0) == 0
    with pytest.raises(ValueError, match=r"`num` of 'city' must be an integer >= 2: why not. Received: num=1"):
        check_count("num", 1, least=2, of="'city'", why="why not")
    assert check_units("units", ()) == ()
    with pytest.raises(ValueError, match="one width or more"):
        check_units("units", (), least=1)


def test_options():
    check_option("fruit", "pear", Fruit)
    check_option("fruit", None, Fruit, optional=True)
    with pytest.raises(ValueError, match=r"`fruit` must be one of \('apple', 'pear'\). Received: fruit=None"):
        check_option("fruit", None, Fruit)
    with pytest.raises(
        ValueError, match=r"`fruit` of 'x' must be one of \(None, 'apple', 'pear'\). Received: fruit='fig'"
    ):
        check_option("fruit", "fig", Fruit, of="'x'", optional=True)


@pytest.mark.parametrize("share", [-0.1, 1, float("nan")])
def test_a_share_that_leaves_no_unit(share):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        check_dropout(share)

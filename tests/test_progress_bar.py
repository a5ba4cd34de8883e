"""A progress bar, where it is asked for."""

import pytest

from tfmtl.progress import number_of_batches, step_counter, with_progress


def test_hands_on_every_step_and_shows_how_many(capsys):
    assert list(with_progress(range(3), 1, "batch", 3)) == [0, 1, 2]
    assert "3/3" in capsys.readouterr().out
    assert list(with_progress(iter("ab"), True, "batch")) == ["a", "b"]  # nobody knows how many
    assert "2/" in capsys.readouterr().out
    assert list(with_progress((), 1, "batch", 0)) == []


def test_shows_nothing_where_nobody_looks(capsys):
    assert list(with_progress(range(3), "auto", "batch", 3)) == list(with_progress(range(3), 0, "batch")) == [0, 1, 2]
    step_counter(2, False, "step")()
    assert not capsys.readouterr().out


def test_counts_steps_that_are_not_alike(capsys):
    advance = step_counter(2, 1, "step")
    advance()
    advance()
    assert "2/2" in capsys.readouterr().out


def test_refuses_another_choice():
    with pytest.raises(ValueError, match="`verbose` must be"):
        with_progress([], "loud", "batch")


def test_knows_the_batches_of_a_dataset_that_says_so():
    class Finite:
        def cardinality(self):
            return 7

    class Unknown:
        def cardinality(self):
            return -2

    assert [number_of_batches(each) for each in (Finite(), Unknown(), [1, 2])] == [7, None, None]

"""Decay of the rows touched, and what is left out of it."""

import numpy as np
import pytest
import tensorflow as tf
from sparse_cases import ROWS, WIDTH, kernel, number, slices, table

from tfmtl.keras_host import raw
from tfmtl.optimizers import LazyAdam, RowWiseAdagrad


def decayed(excluded):
    """Which of a table and a kernel a step without gradient makes smaller, given what is left out of the decay."""
    start = np.ones((ROWS, WIDTH), "float32")
    rows, weights = table(start), kernel(start)
    optimizer = RowWiseAdagrad(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(**excluded(rows, weights))
    optimizer.apply_gradients([(slices(np.zeros((1, WIDTH)), [2]), rows), (tf.zeros(start.shape), weights)])
    assert (np.delete(number(rows), 2, axis=0) == 1).all()
    for found in (number(rows)[2], number(weights)):
        assert (found == 1).all() or (found == 0.75).all()
    return [bool((number(rows)[2] < 1).all()), bool((number(weights) < 1).all())]


@pytest.mark.parametrize(
    ("excluded", "wanted"),
    [
        (lambda rows, weights: {}, [True, True]),
        (lambda rows, weights: {"var_list": [rows]}, [False, True]),
        (lambda rows, weights: {"var_list": [raw(weights)]}, [True, False]),
        (lambda rows, weights: {"var_names": ["embed", "bias"]}, [False, True]),
        (lambda rows, weights: {"var_list": [rows], "var_names": ["kernel"]}, [False, False]),
    ],
)
def test_leaves_out(excluded, wanted):
    assert decayed(excluded) == wanted


def test_comes_too_late_once_built():
    optimizer, variable = LazyAdam(weight_decay=0.1), table(np.ones((ROWS, WIDTH)))
    optimizer.build([variable])
    with pytest.raises(ValueError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_list=[variable])

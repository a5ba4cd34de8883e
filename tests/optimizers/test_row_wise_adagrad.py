"""RowWiseAdagrad against its equation and against Keras's Adagrad."""

import numpy as np
import pytest
import tensorflow as tf
from sparse_cases import ROWS, WIDTH, kernel, number, random_gradients, slices, table

from tfmtl.keras_host import keras
from tfmtl.optimizers import RowWiseAdagrad


@pytest.fixture
def start():
    return np.random.default_rng(2).normal(size=(ROWS, WIDTH)).astype("float32")


def reference(weights, gradients, *, rate=0.01, initial=0.1, epsilon=1e-7, decay=0.0):
    w = weights.astype("float64")
    accumulator = np.full(len(w), initial)
    for gradient in gradients:
        total = np.array(tf.convert_to_tensor(gradient), "float64")
        for row in np.unique(gradient.indices):
            accumulator[row] += np.mean(total[row] ** 2)
            w[row] -= rate * decay * w[row] + rate * total[row] / np.sqrt(accumulator[row] + epsilon)
    return w


def train(optimizer, variable, gradients):
    for gradient in gradients:
        optimizer.apply_gradients([(gradient, variable)])
    return number(variable)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"initial_accumulator_value": 0.0}], ids=str)
def test_follows_the_equation(start, options):
    gradients = [*random_gradients(5), slices(np.ones((2, WIDTH)), [3, 3]), slices(np.ones((1, WIDTH)), [0])]
    trained = train(RowWiseAdagrad(**options), table(start), gradients)
    names = {"weight_decay": "decay", "initial_accumulator_value": "initial"}
    expected = reference(start, gradients, **{names[name]: value for name, value in options.items()})
    np.testing.assert_allclose(trained, expected, rtol=1e-5, atol=1e-6)


def test_touches_only_the_rows_that_occur(start):
    optimizer, variable = RowWiseAdagrad(weight_decay=0.1), table(start)
    trained = train(optimizer, variable, [slices(np.ones((2, WIDTH)), [4, 4])])
    others = [row for row in range(ROWS) if row != 4]
    np.testing.assert_array_equal(trained[others], start[others])
    (accumulator,) = [number(slot) for slot in optimizer.variables if tuple(slot.shape) == (ROWS, 1)]
    np.testing.assert_allclose(accumulator[:, 0], [0.1 if row != 4 else 4.1 for row in range(ROWS)], rtol=1e-6)


def test_dense_gradients_give_the_same(start):
    sparse = train(RowWiseAdagrad(), table(start), random_gradients(5))
    dense = train(RowWiseAdagrad(), kernel(start), map(tf.convert_to_tensor, random_gradients(5)))
    np.testing.assert_allclose(sparse, dense, rtol=1e-6, atol=1e-7)


def test_is_adagrad_at_width_one(start):
    narrow = start[:, :1]
    gradients = [tf.convert_to_tensor(g)[:, :1] for g in random_gradients(5)]
    ours = train(RowWiseAdagrad(0.1), kernel(narrow), gradients)
    theirs = train(keras.optimizers.Adagrad(0.1), kernel(narrow), gradients)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_a_bias_gets_adagrad(start):
    def bias():
        layer = keras.layers.Dense(WIDTH)
        layer.build((None, 2))
        return layer.bias

    gradients = [tf.convert_to_tensor(g)[0] for g in random_gradients(5)]
    ours = train(RowWiseAdagrad(0.1), bias(), gradients)
    theirs = train(keras.optimizers.Adagrad(0.1), bias(), gradients)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_refuses_a_negative_start():
    with pytest.raises(ValueError, match="initial_accumulator_value=-1"):
        RowWiseAdagrad(initial_accumulator_value=-1)

"""LazyAdam against Adam, and what it leaves alone."""

import numpy as np
import pytest
import tensorflow as tf
from sparse_cases import ROWS, WIDTH, click_model, clicks, kernel, number, random_gradients, slices, table

from tfmtl.keras_host import LEGACY, keras
from tfmtl.optimizers import LazyAdam

# Exact in float32, so that `1 - beta` means the same to every implementation.
BETAS = {"beta_1": 0.875, "beta_2": 1 - 2.0**-7}


@pytest.fixture
def start():
    return np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype("float32")


def adam(weights, gradients, *, rate=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-7, decay=0.0):
    """The paper's Adam in float64, on the rows whose gradient is given; {row: gradient} for each step."""
    w = weights.astype("float64")
    m, v = np.zeros_like(w), np.zeros_like(w)
    for step, rows in enumerate(gradients, 1):
        for row, gradient in rows.items():
            m[row] += (1 - beta_1) * (gradient - m[row])
            v[row] += (1 - beta_2) * (gradient**2 - v[row])
            correction = np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
            w[row] -= rate * decay * w[row] + rate * correction * m[row] / (np.sqrt(v[row]) + epsilon)
    return w


def summed(gradient):
    """{row: the sum of its gradients}."""
    total = {}
    for row, value in zip(np.array(gradient.indices), np.array(gradient.values, "float64"), strict=True):
        total[row] = total.get(row, 0) + value
    return total


def train(optimizer, variable, gradients):
    for gradient in gradients:
        optimizer.apply_gradients([(gradient, variable)])
    return number(variable)


@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.1}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.1}, {"epsilon": 1e-3}],
    ids=str,
)
def test_is_adam_where_every_row_occurs(start, options):
    lazy = train(LazyAdam(**BETAS, **options), table(start), random_gradients(20))
    dense = train(
        keras.optimizers.Adam(**BETAS, **options), table(start), map(tf.convert_to_tensor, random_gradients(20))
    )
    assert np.abs(lazy - start).max() > 5e-3
    np.testing.assert_allclose(lazy, dense, rtol=1e-6, atol=1e-7)


def test_dense_weights_get_adam(start):
    gradients = [tf.convert_to_tensor(g) for g in random_gradients(20)]
    ours = train(LazyAdam(**BETAS, weight_decay=0.1), kernel(start), gradients)
    theirs = train(keras.optimizers.Adam(**BETAS, weight_decay=0.1), kernel(start), gradients)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("convert", [lambda g: g, tf.convert_to_tensor], ids=["sparse", "dense"])
def test_follows_the_equation_with_the_usual_betas(start, convert):
    gradients = list(random_gradients(20))
    trained = train(LazyAdam(weight_decay=0.1), table(start), map(convert, gradients))
    expected = adam(start, map(summed, gradients), decay=0.1)
    # float32 holds 1 - 0.999 to 5e-5 of its value.
    np.testing.assert_allclose(trained - start, expected - start, rtol=1e-4, atol=1e-6)


def test_touches_only_the_rows_that_occur(start):
    gradients = [slices(np.ones((3, WIDTH)), [1, 6, 1]), slices(np.full((1, WIDTH), -2.0), [6])]
    optimizer, variable = LazyAdam(weight_decay=0.1), table(start)
    trained = train(optimizer, variable, gradients)
    others = [row for row in range(ROWS) if row not in (1, 6)]
    np.testing.assert_array_equal(trained[others], start[others])
    np.testing.assert_allclose(trained, adam(start, map(summed, gradients), decay=0.1), rtol=1e-5)
    for slot in optimizer.variables:
        if tuple(slot.shape) == start.shape:
            assert not number(slot)[others].any()


def test_a_rare_row_keeps_its_moments(start):
    seldom, often = slices(np.ones((1, WIDTH)), [2]), slices(np.ones((1, WIDTH)), [3])
    gradients = [seldom, often, often, seldom]
    trained = train(LazyAdam(), table(start), gradients)
    np.testing.assert_allclose(trained, adam(start, map(summed, gradients)), rtol=1e-5)
    moved_by_adam = train(keras.optimizers.Adam(), table(start), map(tf.convert_to_tensor, gradients))
    assert np.abs(moved_by_adam[2] - trained[2]).max() > 1e-4


def test_follows_a_schedule(start):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1, 3], [1e-2, 1e-3, 0.0])
    optimizer, variable = LazyAdam(schedule), table(start)
    gradients = list(random_gradients(6))
    positions = [train(optimizer, variable, [g]) for g in gradients]
    sizes = [np.abs(b - a).max() for a, b in zip([start, *positions], positions, strict=False)]
    assert sizes[0] > 5e-3 and 0 < sizes[3] < 2e-3 and sizes[5] == 0


def test_moving_averages_end_in_the_weights():
    plain, averaged = click_model(LazyAdam(0.05)), click_model(LazyAdam(0.05, use_ema=True, ema_momentum=0.9))
    expected = (
        plain.get_weights() if LEGACY else None
    )  # tf_keras's average counts the initial weights, Keras 3's does not
    for batch in clicks(6):
        plain.train_on_batch(*batch)
        now = plain.get_weights()
        expected = now if expected is None else [0.9 * a + 0.1 * w for a, w in zip(expected, now, strict=True)]
    averaged.fit(clicks(6), verbose=0)
    for mine, wanted in zip(averaged.get_weights(), expected, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta_1": 1.0}, "beta_1=1.0"),
        ({"beta_2": -0.1}, "beta_2=-0.1"),
        ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps"),
        ({"clipnorm": 1.0, "global_clipnorm": 1.0}, "clipnorm"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        LazyAdam(**arguments)

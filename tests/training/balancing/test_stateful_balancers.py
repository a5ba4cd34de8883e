"""Balancers with a memory equal a NumPy reference of their equations, step by step; a task without a label keeps its own."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.keras_host import keras
from tfmtl.training.balancing import DBMTL, DWA, FAMO, RLW, GradNorm, MetaBalance, Signals, Static, UncertaintyWeighting

TASKS = ("a", "b", "c")
STEPS = 5
SIZES = (4, 1, 7)
RNG = np.random.default_rng(0)
LOSSES = RNG.uniform(0.1, 3, (STEPS, 3)).astype("float32")
JACOBIANS = (RNG.normal(size=(STEPS, 3, sum(SIZES))) * np.array([1, 30, 0.1])[:, None]).astype("float32")
PRESENT = np.ones((STEPS, 3), bool)
PRESENT[2, 1] = PRESENT[0, 2] = False


def signals(step):
    """As the model hands them over: without a label the loss and the gradient are 0."""
    here = PRESENT[step]
    return Signals(
        tf.constant(LOSSES[step] * here),
        tf.constant(here),
        tf.constant(step, "int64"),
        tf.constant(JACOBIANS[step] * here[:, None]),
        SIZES,
    )


def begin(balancer):
    balancer.bind(TASKS)
    return {name: tf.constant(value) for name, value in balancer.initial_state(TASKS, SIZES).items()}


def weights_of(balancer):
    """The weights of every step; those of absent tasks as NaN, which nobody uses."""
    state, found = begin(balancer), []
    for step in range(STEPS):
        weights, state = balancer.weigh(signals(step), state)
        found.append(np.where(PRESENT[step], weights.numpy(), np.nan))
    return np.array(found)


def assert_weights(balancer, wanted):
    np.testing.assert_allclose(weights_of(balancer), np.where(PRESENT, wanted, np.nan), rtol=1e-5)


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def test_static():
    assert_weights(Static({"b": 3.0}), np.tile([1, 3, 1], (STEPS, 1)))


def test_random_weights():
    found = np.array([RLW(seed=1).weigh(signals(step), {})[0] for step in range(STEPS)])
    np.testing.assert_allclose(found.sum(1), 3, rtol=1e-6)
    assert (found > 0).all() and np.abs(found[0] - found[1]).max() > 0.01
    keras.utils.set_random_seed(1)
    one = RLW()
    keras.utils.set_random_seed(1)
    assert one.seed == RLW().seed != RLW().seed


def test_random_weights_are_softmaxes_of_normals():
    step = signals(0)
    many = np.array([RLW(seed=2).weigh(step._replace(step=tf.constant(s, "int64")), {})[0] for s in range(500)])
    apart = np.log(many[:, 0] / many[:, 1])  # of two independent normals
    assert abs(apart.mean()) < 0.2 and 1.2 < apart.std() < 1.6


def test_uncertainty():
    factor, s, m, v, t = np.array([1, 0.5, 1]), np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3)
    wanted = []
    for step in range(STEPS):
        weights = factor * np.exp(-s)
        wanted.append(weights)
        here, slope = PRESENT[step], 0.5 - weights * LOSSES[step]
        t = t + here
        m, v = np.where(here, 0.9 * m + 0.1 * slope, m), np.where(here, 0.999 * v + 0.001 * slope**2, v)
        with np.errstate(invalid="ignore"):
            step_s = 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        s = np.where(here, s - step_s, s)
    assert_weights(UncertaintyWeighting(["b"], learning_rate=0.05), np.array(wanted))


def test_dynamic_weight_average_by_epoch():
    balancer = DWA(temperature=1.5)
    state = begin(balancer)
    epochs = [[0], [1, 2], [3], [4]]
    means = [
        [np.mean([LOSSES[s, k] for s in epoch if PRESENT[s, k]] or [np.nan]) for k in range(3)] for epoch in epochs
    ]
    for number, epoch in enumerate(epochs):
        for step in epoch:
            weights, state = balancer.weigh(signals(step), state)
        state = balancer.end_epoch(state)
        assert all(np.array_equal(balancer.end_epoch(state)[n], state[n]) for n in ("last", "before", "total"))
        if number < 2:
            np.testing.assert_allclose(weights, 1, rtol=1e-6)
    ratio = np.array(means[2]) / np.array(means[1])  # c, which has no label in the first epoch, has these two as well
    weights, _ = balancer.weigh(signals(4), state | {"last": tf.constant(means[2]), "before": tf.constant(means[1])})
    np.testing.assert_allclose(weights, 3 * softmax(ratio / 1.5), rtol=1e-5)
    np.testing.assert_allclose(state["last"], means[3], rtol=1e-5)
    np.testing.assert_allclose(state["before"], means[2], rtol=1e-5)


def test_dynamic_weight_average_by_steps():
    last = weights_of(DWA(steps=1))[4]
    np.testing.assert_allclose(last, 3 * softmax(LOSSES[3] / [LOSSES[2, 0], LOSSES[1, 1], LOSSES[2, 2]] / 2), rtol=1e-5)


def test_famo():
    balancer = FAMO(learning_rate=0.5, decay=0.01)
    state, xi = begin(balancer), np.zeros(3)
    after = LOSSES * RNG.uniform(0.5, 1.1, LOSSES.shape).astype("float32")
    for step in range(STEPS):
        here = PRESENT[step]
        z = np.zeros(3)
        z[here] = softmax(xi[here])
        scaled = z[here] / LOSSES[step][here]
        weights, state = balancer.weigh(signals(step), state)
        np.testing.assert_allclose(weights.numpy()[here], scaled / scaled.sum(), rtol=1e-5)
        state = balancer.look_back(signals(step), tf.constant(after[step] * here), state)
        fall = np.where(here, np.log(LOSSES[step] / after[step]), 0)
        jacobian = np.diag(z) - np.outer(z, z)
        xi = np.where(here, xi - 0.5 * (jacobian.T @ fall + 0.01 * xi), xi)
        np.testing.assert_allclose(state["xi"], xi, rtol=1e-4, atol=1e-6)


def test_grad_norm():
    weights, first, wanted = np.ones(3), np.full(3, np.nan), []
    for step in range(STEPS):
        here = PRESENT[step]
        first = np.where(here & np.isnan(first), LOSSES[step], first)
        norms = np.linalg.norm(JACOBIANS[step], axis=1)[here]
        left = (LOSSES[step] / first)[here]
        own = weights[here]
        target = np.mean(own * norms) * (left / left.mean()) ** 1.5
        stepped = np.maximum(own - 0.1 * norms / norms.mean() * np.sign(own * norms - target), 0.01)
        weights = weights.copy()
        weights[here] = stepped * own.sum() / stepped.sum()
        wanted.append(weights)
    assert_weights(GradNorm(1.5, learning_rate=0.1), np.array(wanted))
    np.testing.assert_allclose(np.sum(wanted, axis=1), 3)


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_dual_balancing(beta):
    mean, count, wanted = np.zeros((3, sum(SIZES))), np.zeros(3), []
    for step in range(STEPS):
        here = PRESENT[step][:, None]
        mean = np.where(here, beta * mean + (1 - beta) * JACOBIANS[step] / LOSSES[step][:, None], mean)
        count = count + PRESENT[step]
        with np.errstate(invalid="ignore"):
            lengths = np.linalg.norm(mean, axis=1) / (1 - beta**count)
        wanted.append(lengths[PRESENT[step]].max() / lengths / LOSSES[step])
    assert_weights(DBMTL(beta), np.array(wanted))


def test_meta_balance():
    """Weight by weight; a task that is absent at first has an unbiased mean when it comes."""
    balancer = MetaBalance("b", relax=0.6)
    state, sizes, count = begin(balancer), np.zeros((3, 3)), np.zeros((3, 1))
    for step in range(STEPS):
        here = PRESENT[step][:, None]
        parts = np.split(JACOBIANS[step], np.cumsum(SIZES)[:-1], axis=1)
        norms = np.stack([np.linalg.norm(part, axis=1) for part in parts], axis=1)
        sizes, count = np.where(here, 0.9 * sizes + 0.1 * norms, sizes), count + here
        with np.errstate(invalid="ignore"):
            means = sizes / (1 - 0.9**count)
        wanted = 0.6 * means[1] / means + 0.4
        grown, factors, state = balancer.resize(signals(step), state)
        np.testing.assert_allclose(factors.numpy()[here[:, 0]], wanted[here[:, 0]], rtol=1e-5)
        np.testing.assert_allclose(factors[1], 1, rtol=1e-6)
        resized = np.linalg.norm(factors.numpy() * norms, axis=1) / np.linalg.norm(norms, axis=1)
        np.testing.assert_allclose(grown.numpy()[here[:, 0]], resized[here[:, 0]], rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FAMO(0.0), "`learning_rate` must be in \\(0.0, inf\\)"),
        (lambda: DBMTL(1.0), "`beta` must be in \\[0.0, 1.0\\)"),
        (lambda: DWA(steps=0), "`steps` must be an integer >= 1"),
        (lambda: GradNorm(every=0), "`every` must be an integer >= 1"),
        (lambda: Static({"a": -1.0}), "`weights` must be"),
        (lambda: MetaBalance("a", relax=1.5), "`relax` must be"),
        (lambda: MetaBalance("z").bind(TASKS), "`target` names tasks .*'z'.*Known tasks"),
        (lambda: Static({"z": 1.0}).bind(TASKS), "`weights` names tasks"),
        (lambda: UncertaintyWeighting("z").bind(TASKS), "`regression` names tasks"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()

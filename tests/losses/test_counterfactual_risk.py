"""The counterfactual risk against its equations in NumPy, and which way its gradients go."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.losses.counterfactual_risk import ChainStep, CounterfactualRisk

NAN = float("nan")
FORMS = ["ipw", "label", "error"]


def crossentropy(labels, predictions):
    return -(labels * np.log(predictions) + (1 - labels) * np.log(1 - predictions))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(form, before, labels, weights, propensity, conditional, logits, least):
    """The paper's equations, row by row, over the rows in which both steps have a label."""
    total, count = 0.0, 0
    for o, r, w, q, c, z in zip(before, labels, weights, propensity, conditional, logits, strict=True):
        if np.isnan(o) or np.isnan(r):
            continue
        count += 1
        cost, q = crossentropy(r, c), max(q, least)
        if form == "ipw":
            total += w * o * cost / q
            continue
        imputed = np.log1p(np.exp(z)) if form == "error" else crossentropy(sigmoid(z), c)
        total += w * (imputed + o * (cost - imputed) / q)
        total += w * o * (cost - imputed) ** 2 / q
    return total / count


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    before = rng.choice([0.0, 1.0, NAN], 60, p=[0.5, 0.4, 0.1])
    labels = np.where(before == 1, rng.integers(0, 2, 60), 0.0)
    labels[rng.random(60) < 0.1] = NAN
    propensity, conditional = rng.uniform(0.001, 0.9, 60), rng.uniform(0.05, 0.95, 60)
    return before, labels, rng.uniform(0, 2, 60), propensity, conditional, rng.normal(size=60)


def computed(form, rows, least=0.05):
    """The risk, and its gradients by propensity, conditional and logits."""
    before, labels, weights, *said = rows
    said = [tf.constant(each[:, None], "float32") for each in said]
    risk = CounterfactualRisk(min_propensity=least, imputation="label" if form == "ipw" else form)
    with tf.GradientTape() as tape:
        tape.watch(said)
        step = ChainStep(said[0], said[1], None if form == "ipw" else said[2])
        value = risk(before.astype("float32"), labels.astype("float32"), step, weights.astype("float32"), of="buy")
    found = tape.gradient(value, said)
    return float(value), [None if each is None else each.numpy()[:, 0] for each in found]


@pytest.mark.parametrize("form", FORMS)
def test_follows_the_equations(form, rows):
    value, _ = computed(form, rows)
    assert value == pytest.approx(reference(form, *rows, 0.05), rel=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_the_step_are_those_of_the_equations(form, rows):
    """Of `"label"` with the second sum, and what is imputed in the first, held."""
    _, (_, slope, _) = computed(form, rows)
    row = int(np.flatnonzero((rows[0] == 1) & ~np.isnan(rows[1]))[0])
    o, r, w, q, c, z = (column[row] for column in rows)
    count, q, by_c = np.sum(~np.isnan(rows[0]) & ~np.isnan(rows[1])), max(q, 0.05), (c - r) / (c * (1 - c))
    expected = w * o / q * by_c
    if form == "label":
        y = sigmoid(z)
        expected = w * ((1 - o / q) * (c - y) / (c * (1 - c)) + o / q * by_c)
    elif form == "error":
        expected *= 1 + 2 * (crossentropy(r, c) - np.log1p(np.exp(z)))
    assert slope[row] == pytest.approx(expected / count, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_who_touches_whom(form, rows):
    before, labels, *_ = rows
    counted = ~np.isnan(before) & ~np.isnan(labels)
    seen = counted & (before == 1)
    _, (propensity, conditional, logits) = computed(form, rows)
    assert propensity is None
    np.testing.assert_array_equal(conditional != 0, counted if form == "label" else seen)
    if form == "ipw":
        assert logits is None
    else:
        np.testing.assert_array_equal(logits != 0, seen if form == "label" else counted)


@pytest.mark.parametrize("form", FORMS)
def test_rows_without_a_label_change_nothing(form, rows):
    counted = ~np.isnan(rows[0]) & ~np.isnan(rows[1])
    value, _ = computed(form, tuple(column[counted] for column in rows))
    spoiled = [column.copy() for column in rows]
    for column in spoiled[2:]:
        column[~counted] = NAN
    got, gradients = computed(form, spoiled)
    assert got == pytest.approx(value, rel=1e-6)
    for each in gradients:
        assert each is None or not each[~counted].any()
    nothing = [np.full(60, NAN), *rows[1:]]
    assert computed(form, nothing)[0] == 0


def test_no_row_weighs_more_than_the_inverse_of_the_least_propensity():
    step = ChainStep(tf.constant([[1e-9]]), tf.constant([[0.5]]))
    value = CounterfactualRisk(min_propensity=0.01)([1.0], [1.0], step, of="buy")
    assert float(value) == pytest.approx(100 * np.log(2), rel=1e-5)


def test_refuses():
    for least in (0.0, 1.5, NAN):
        with pytest.raises(ValueError, match=r"`min_propensity` must be in \(0, 1\]"):
            CounterfactualRisk(min_propensity=least)
    with pytest.raises(ValueError, match="`imputation` must be one of"):
        CounterfactualRisk(min_propensity=0.1, imputation="cost")
    with pytest.raises(ValueError, match=r"labels of `buy` must be 0, 1"):
        CounterfactualRisk(min_propensity=0.1)([1.0], [2.0], ChainStep([[0.5]], [[0.5]]), of="buy")

"""The generators draw what their docstrings say."""

import numpy as np
import pytest

from tfmtl.data import synthetic
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read
from tfmtl.metrics import exact


def columns(data, *names):
    return [np.asarray(data.rows[name].to_pylist()) for name in names]


@pytest.mark.parametrize("correlation", [-1.0, -0.3, 0.0, 0.6, 1.0])
def test_weights_have_the_length_and_the_cosine_asked_for(correlation):
    data = synthetic.correlated_regression(200, correlation=correlation, d=8, m=0, c=2.0, noise=0.0)
    x, *labels = columns(data, "x", "first", "second")
    assert x.shape == (200, 8)
    w = np.linalg.lstsq(x, np.stack(labels, axis=1), rcond=None)[0].T
    np.testing.assert_allclose(w @ w.T, 4 * np.array([[1, correlation], [correlation, 1]]), atol=1e-4)


def test_the_sines_are_shared_by_the_tasks():
    """With m sines, what the linear part leaves over is one bounded function of the reading, the same for both tasks."""
    linear = synthetic.correlated_regression(4000, correlation=0.5, d=4, m=0)
    data = synthetic.correlated_regression(4000, correlation=0.5, d=4, m=10)
    rest = {}
    for name in data.truth:
        order = np.argsort(linear.truth[name])
        reading = linear.truth[name][order]
        rest[name] = np.interp(np.linspace(-1, 1, 50), reading, (data.truth[name] - linear.truth[name])[order])
        assert np.ptp(rest[name]) > 0.5
    np.testing.assert_allclose(rest["first"], rest["second"], atol=0.05)


def test_noise_and_seed():
    data = synthetic.correlated_regression(5000, correlation=1.0, d=4, noise=0.3, seed=3)
    first, second = columns(data, "first", "second")
    np.testing.assert_allclose(data.truth["first"], data.truth["second"], atol=1e-6)
    noise = np.stack([first, second]) - data.truth["first"]
    np.testing.assert_allclose(np.cov(noise), 0.09 * np.eye(2), atol=0.006)
    again = synthetic.correlated_regression(5000, correlation=0.0, d=4, noise=0.3, seed=3)
    np.testing.assert_array_equal(columns(again, "x"), columns(data, "x"))
    assert again.rows["first"].equals(data.rows["first"])
    assert not again.rows["second"].equals(data.rows["second"])


@pytest.fixture(scope="module")
def plain():
    """Rows in which the histories alone decide."""
    return synthetic.multi_behavior(6000, users=500, length=10, group_spread=0, user_spread=0)


def shares(data, behavior, attribute):
    """What part of each history has the item's value of `attribute`, row by row."""
    rows = data.rows.select([attribute, f"{behavior}_{attribute}"]).to_pylist()
    return np.array([np.mean([v == row[attribute] for v in row[f"{behavior}_{attribute}"]] or [False]) for row in rows])


@pytest.mark.parametrize("task", ["click", "like", "buy"])
def test_a_task_goes_by_its_own_history_and_attribute(plain, task):
    behavior, attribute = synthetic.READINGS[task]
    share = shares(plain, behavior, attribute)
    intercept = {"click": -0.5, "like": -1.5, "buy": -1.0}[task]
    expected = 1 / (1 + np.exp(-(intercept + 4 * (2 * share - 0.5))))
    np.testing.assert_allclose(plain.truth[task], expected, rtol=1e-12)
    assert len(np.unique(share)) > 20
    label = expected > np.median(expected)
    for other in synthetic.BEHAVIORS:
        for name in synthetic.ATTRIBUTES:
            if (other, name) != (behavior, attribute):
                auc = exact.auc(label.astype("float32"), shares(plain, other, name).astype("float32"))
                assert 0.4 < auc < 0.6, (other, name)


def test_labels_follow_the_truth():
    data = synthetic.multi_behavior(20_000)
    click, like, buy = columns(data, "click", "like", "buy")
    assert not buy[click == 0].any()
    for label, task, inside in ((click, "click", click >= 0), (like, "like", click >= 0), (buy, "buy", click == 1)):
        truth = data.truth[task]
        assert 0.2 < truth[inside].mean() < 0.5
        for part in np.array_split(np.argsort(truth[inside]), 5):
            error = (label[inside][part] - truth[inside][part]).mean()
            assert abs(error) < 4 * (0.25 / len(part)) ** 0.5, task


def test_groups():
    data = synthetic.multi_behavior(20_000, length=20)
    group, user = columns(data, "group", "user_id")
    lengths = np.array([len(events) for events in data.rows["liked_brand"].to_pylist()])
    shares = {name: (group == name).mean() for name in synthetic.GROUPS}
    np.testing.assert_allclose([shares["new"], shares["casual"], shares["heavy"]], [0.02, 0.28, 0.7], atol=0.01)
    assert {name: lengths[group == name].max() for name in shares} == {"new": 2, "casual": 10, "heavy": 20}
    assert all((lengths[group == name] == 0).any() for name in shares)
    assert all(len(np.unique(group[user == u])) == 1 for u in np.unique(user)[:50])
    assert user.min() >= 0 and user.max() < 2000


def test_groups_and_users_differ_beyond_their_histories():
    still = synthetic.multi_behavior(20_000, strength=0, group_spread=0, user_spread=0)
    assert all(np.ptp(truth) < 1e-12 for truth in still.truth.values())
    grouped = synthetic.multi_behavior(20_000, strength=0, user_spread=0)
    moved = synthetic.multi_behavior(20_000, strength=0, group_spread=0)
    group, user, category, brand, price = columns(grouped, "group", "user_id", "category", "brand", "price")
    one = (category == 3) & (brand == category) & (price == category)
    assert len({round(p, 9) for p in grouped.truth["like"][one]}) == len(np.unique(group[one]))
    assert all(np.ptp(moved.truth["like"][user == u]) < 1e-12 for u in np.unique(user)[:50])
    assert np.ptp(moved.truth["like"]) > 0.1


def test_a_seed_fixes_everything():
    first, second, other = (synthetic.multi_behavior(300, users=20, seed=seed) for seed in (1, 1, 2))
    assert first.rows.equals(second.rows) and not first.rows.equals(other.rows)
    np.testing.assert_array_equal(first.truth["buy"], second.truth["buy"])


def test_rows_go_through_the_reader():
    train, test = synthetic.multi_behavior(300, users=20, length=5).split(200)
    assert len(train.truth["buy"]) == 200 and len(test.truth["buy"]) == test.rows.num_rows == 100
    schema = test.schema
    encoded, y = next(iter(read(test.rows, schema, batch_size=100).map(Preprocessor(schema.features))))
    assert encoded["viewed_brand"].shape == encoded["viewed_mask"].shape == (100, 5)
    assert encoded["brand"].numpy().min() >= 1
    np.testing.assert_array_equal(np.isnan(y["buy"]), columns(test, "click")[0] == 0)
    one = synthetic.correlated_regression(10, correlation=0.5, d=3)
    x, y = next(iter(read(one.rows, one.schema, batch_size=10)))
    assert x["x"].shape == (10, 3)
    np.testing.assert_allclose(y["second"], columns(one, "second")[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: synthetic.correlated_regression(10, correlation=1.5), "correlation=1.5"),
        (lambda: synthetic.correlated_regression(10, correlation=0.5, d=1), "`d` must be >= 2. Received: d=1"),
        (lambda: synthetic.multi_behavior(0), "`rows` must be >= 1. Received: rows=0"),
        (lambda: synthetic.multi_behavior(10, values=1), "`values` must be >= 2. Received: values=1"),
        (lambda: synthetic.multi_behavior(10).split(10), "Received: first=10"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()

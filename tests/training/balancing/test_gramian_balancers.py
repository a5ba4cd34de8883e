"""Every method of the Gramian equals a NumPy reference of its paper's equations, or fulfils the conditions of its optimum."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from training.balancing.jacobians import all_of, bounded_residual, gramian, jacobians, simplex_residual

from tfmtl.training.balancing import IMTLG, MGDA, AlignedMTL, CAGrad, NashMTL, PCGrad, Signals, UPGrad

CASES = [(tasks, name) for tasks in (2, 5) for name in jacobians(tasks)]
CASES += [(1, "any"), (3, "conflicting"), (3, "dependent"), (16, "any"), (16, "scaled")]
EVERY_CASE = pytest.mark.parametrize(("tasks", "name"), CASES)
METHODS = [MGDA(), CAGrad(), UPGrad(), NashMTL(), IMTLG(), AlignedMTL(), PCGrad(seed=1)]


def found(method, jacobian, present=None):
    tasks = len(jacobian)
    weights = method.weights(gramian(jacobian), all_of(tasks) if present is None else tf.constant(present)).numpy()
    assert weights.shape == (tasks,)
    return weights


@EVERY_CASE
def test_mgda_is_the_shortest_combination(tasks, name):
    jacobian = jacobians(tasks)[name]
    weights = found(MGDA(), jacobian)
    matrix = jacobian @ jacobian.T / np.sum(jacobian**2)
    assert simplex_residual(weights, matrix @ weights) < 1e-6


def test_mgda_of_two_tasks_is_the_closed_form():
    one, two = jacobians(2)["any"]
    share = np.clip((two - one) @ two / np.sum((one - two) ** 2), 0, 1)
    np.testing.assert_allclose(found(MGDA(), np.stack([one, two])), [share, 1 - share], atol=1e-6)


@EVERY_CASE
@pytest.mark.parametrize("c", [0.4, 0.9])
def test_cagrad_is_the_optimum_of_its_objective(tasks, name, c):
    jacobian = jacobians(tasks)[name]
    weights = found(CAGrad(c), jacobian)
    assert np.isfinite(weights).all()
    pulled = weights - 1 / tasks
    if "cancel" in name:  # the worst-off task cannot be helped
        np.testing.assert_allclose(pulled, 0, atol=1e-6)
        return
    mean = jacobian.mean(0)
    direction = weights @ jacobian
    np.testing.assert_allclose(np.linalg.norm(direction - mean), c * np.linalg.norm(mean), rtol=1e-5)
    simplex = pulled / pulled.sum()
    combined = simplex @ jacobian
    gradient = jacobian @ mean / np.linalg.norm(mean) + c * jacobian @ combined / np.linalg.norm(combined)
    assert simplex_residual(simplex, gradient / np.linalg.norm(jacobian)) < 1e-6


def test_cagrad_without_a_ball_is_the_mean():
    np.testing.assert_allclose(found(CAGrad(0.0), jacobians(3)["conflicting"]), 1 / 3)


@EVERY_CASE
def test_upgrad_is_the_mean_of_exact_projections(tasks, name):
    jacobian = jacobians(tasks)[name]
    weights = found(UPGrad(), jacobian)
    if "cancel" not in name:
        assert (jacobian @ (weights @ jacobian) / np.linalg.norm(jacobian, axis=1)).min() > -1e-6 * np.abs(
            weights
        ).max()
    if tasks <= 5:
        np.testing.assert_allclose(
            weights @ jacobian, upgrad_reference(jacobian), atol=1e-5 * np.linalg.norm(jacobian, axis=1).max()
        )


def upgrad_reference(jacobian):
    """Each gradient projected by trying which constraints bind: the best of all feasible points."""
    tasks = len(jacobian)
    projections = []
    for k in range(tasks):
        rows = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)
        best = None
        for free in itertools.chain.from_iterable(itertools.combinations(range(tasks), n) for n in range(tasks + 1)):
            added = np.zeros(tasks)
            chosen = list(free)
            if chosen:
                inner = rows[chosen] @ rows[chosen].T
                added[chosen] = np.linalg.lstsq(inner, -rows[chosen] @ rows[k], rcond=1e-10)[0]
            projected = rows[k] + added @ rows
            length = np.linalg.norm(projected)
            if added.min() > -1e-8 and (best is None or length < best[0] - 1e-12):
                best = (length, projected)
        projections.append(best[1] * np.linalg.norm(jacobian[k]))
    return np.mean(projections, axis=0)


def test_upgrad_residual_of_every_projection():
    jacobian = jacobians(16)["conflicting"]
    for k in range(3):  # the weights of one task's projection are what its gradient's scale moves
        scale = np.ones(16)
        scale[k] = 1e6
        weights = found(UPGrad(), jacobian * scale[:, None]) * 16
        own = weights * scale / 1e6
        own[k] -= 1
        lengths = np.linalg.norm(jacobian, axis=1)
        gradient = jacobian @ (jacobian[k] + own @ jacobian) / lengths / lengths[k]
        assert bounded_residual(own * lengths / lengths[k], gradient) < 1e-4


@EVERY_CASE
def test_nash_solves_its_equation(tasks, name):
    jacobian = jacobians(tasks)[name]
    weights = found(NashMTL(), jacobian)
    if "cancel" in name:
        assert np.isnan(weights).all()  # no solution, and the model holds its weights
        return
    matrix = jacobian @ jacobian.T
    assert (weights > 0).all()
    np.testing.assert_allclose(weights * (matrix @ weights), np.linalg.norm(matrix), rtol=1e-6)


@EVERY_CASE
def test_imtl_projects_equally(tasks, name):
    jacobian = jacobians(tasks)[name]
    weights = found(IMTLG(), jacobian)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-9)
    lengths = np.linalg.norm(jacobian, axis=1, keepdims=True)
    units = jacobian / lengths
    solved = np.linalg.pinv(units @ units.T, rcond=1e-6) @ np.ones(tasks) / lengths[:, 0]
    np.testing.assert_allclose(
        weights, solved / solved.sum() if solved.sum() > 1e-9 else 1 / tasks, rtol=1e-5, atol=1e-9
    )
    if name not in ("dependent", "opposite, cancel"):
        projected = units @ (weights @ jacobian)
        np.testing.assert_allclose(projected, projected[0], rtol=1e-5)


def test_imtl_is_the_closed_form_of_the_paper():
    jacobian = jacobians(3)["any"]
    units = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)
    apart, between = jacobian[0] - jacobian[1:], units[0] - units[1:]
    others = jacobian[0] @ between.T @ np.linalg.inv(apart @ between.T)
    np.testing.assert_allclose(found(IMTLG(), jacobian), [1 - others.sum(), *others], rtol=1e-5)


@EVERY_CASE
def test_aligned_mtl_follows_the_singular_values(tasks, name):
    jacobian = jacobians(tasks)[name]
    left, values, right = np.linalg.svd(jacobian, full_matrices=False)
    kept = values**2 > values.max() ** 2 * tasks * np.finfo("float32").eps
    aligned = values[kept].min() * left[:, kept] @ right[kept]
    np.testing.assert_allclose(found(AlignedMTL(), jacobian) @ jacobian, aligned.sum(0), rtol=1e-5, atol=1e-6)


def test_aligned_mtl_prefers():
    jacobian = jacobians(3)["any"]
    left, values, right = np.linalg.svd(jacobian, full_matrices=False)
    state = AlignedMTL({"b": 3.0}).initial_state(("a", "b", "c"), ())
    np.testing.assert_array_equal(state["preferred"], [1, 3, 1])
    weights = AlignedMTL().weights(gramian(jacobian), all_of(3), state["preferred"]).numpy()
    np.testing.assert_allclose(weights @ jacobian, [1, 3, 1] @ (values.min() * left @ right), rtol=1e-5)


@EVERY_CASE
def test_pcgrad_projects_in_the_given_order(tasks, name):
    jacobian = jacobians(tasks)[name]
    order = np.stack([np.random.default_rng(k).permutation(tasks) for k in range(tasks)])
    total = np.zeros(jacobian.shape[1])
    for k in range(tasks):
        gradient = jacobian[k].copy()
        for other in order[k]:
            product = gradient @ jacobian[other]
            if other != k and product < -1e-12 * np.linalg.norm(gradient) * np.linalg.norm(jacobian[other]):
                gradient -= product / (jacobian[other] @ jacobian[other]) * jacobian[other]
        total += gradient
    weights = PCGrad(seed=1).weights(gramian(jacobian), all_of(tasks), tf.constant(order)).numpy()
    np.testing.assert_allclose(weights @ jacobian, total, rtol=1e-5, atol=1e-6 * np.abs(jacobian).max())


def test_pcgrad_draws_another_order_at_each_step():
    jacobian = tf.constant(jacobians(5)["conflicting"], "float32")
    signals = Signals(tf.ones(5), all_of(5), tf.constant(0, "int64"), jacobian, (24,))
    steps = [PCGrad(seed=3).weigh(signals._replace(step=tf.constant(s, "int64")), {})[0].numpy() for s in (0, 1, 0)]
    assert np.abs(steps[0] - steps[1]).max() > 1e-3
    np.testing.assert_array_equal(steps[0], steps[2])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_an_absent_task_has_no_say(method):
    """Whatever its row holds; the others' weights are those without it. In a graph, with one trace for every case."""
    weights_of = tf.function(method.weights, autograph=False)
    jacobian = jacobians(3)["conflicting"]
    alone = found(method, jacobian)
    for place in range(4):
        with_it = np.insert(jacobian, place, 100 * jacobian[0] - jacobian[1], axis=0)
        present = np.insert(np.ones(3, bool), place, False)
        weights = weights_of(gramian(with_it), tf.constant(present)).numpy()
        np.testing.assert_allclose(weights[present], alone, rtol=1e-6, atol=1e-8)
        assert weights[place] == 0


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_a_graph_is_small_and_the_same_for_any_number_of_tasks(method):
    """No unrolled solver: the same operations at 3 tasks and at 16."""
    sizes = []
    for tasks in (3, 16):
        traced = tf.function(method.weights, autograph=False).get_concrete_function(
            tf.TensorSpec((tasks, tasks), "float64"), tf.TensorSpec((tasks,), "bool")
        )
        sizes.append(
            sum(len(f.node_def) for f in traced.graph.as_graph_def().library.function)
            + len(traced.graph.get_operations())
        )
    assert sizes[0] == sizes[1] < 500

"""Should Keras rename a private step that we go by, repeated rows are still summed and nothing is clipped wrongly.

The renaming is planted: where we stand in for a step under a name that Keras no longer calls, we might as well not.
"""

import numpy as np
import pytest
import tensorflow as tf
from sparse_cases import ROWS, WIDTH, click_model, clicks, number, random_gradients, table

from tfmtl.keras_host import LEGACY, keras, raw
from tfmtl.optimizers import LazyAdam, RowWiseAdagrad
from tfmtl.optimizers.host_optimizer import HostOptimizer

HOOK = "_deduplicate_sparse_grad" if LEGACY else "_all_reduce_sum_gradients"

OPTIONS = [{}, {"weight_decay": 0.1}, {"clipnorm": 0.5}, {"clipvalue": 0.1}]
GLOBAL = {"global_clipnorm": 0.5}

KINDS = pytest.mark.parametrize("kind", [LazyAdam, RowWiseAdagrad])


def renamed():
    """For the test of replicas too, which has no fixtures."""
    delattr(HostOptimizer, HOOK)


@pytest.fixture
def hook_is_renamed(monkeypatch):
    monkeypatch.delattr(HostOptimizer, HOOK)


def trained(kind, options):
    variable, optimizer = table(np.ones((ROWS, WIDTH))), kind(0.05, **options)
    for gradient in random_gradients(5):
        optimizer.apply_gradients([(gradient, variable)])
    return number(variable)


@KINDS
@pytest.mark.parametrize(
    "options", [*OPTIONS, pytest.param(GLOBAL, marks=pytest.mark.skipif(not LEGACY, reason="raises"))]
)
def test_the_numbers_do_not_hang_on_a_hook(kind, options, monkeypatch):
    wanted = trained(kind, options)
    monkeypatch.delattr(HostOptimizer, HOOK)
    np.testing.assert_array_equal(trained(kind, options), wanted)


@KINDS
@pytest.mark.keras3
def test_a_global_norm_says_that_it_cannot_be_known(kind, hook_is_renamed):
    with pytest.raises(RuntimeError, match=r"no longer calls `_all_reduce_sum_gradients`.*Received: Keras 3\."):
        trained(kind, GLOBAL)
    model = click_model(kind(0.05, **GLOBAL))
    before = model.get_weights()
    with pytest.raises(RuntimeError, match="needs the gradients of all variables at once"):
        model.fit(clicks(1), verbose=0)
    for now, wanted in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, wanted)


@KINDS
def test_a_step_of_one_variable_sums_its_rows(kind):
    """Who calls `update_step` by hand passes every hook by."""
    wanted, variable, optimizer = trained(kind, {}), table(np.ones((ROWS, WIDTH))), kind(0.05)
    optimizer.build([variable])
    for gradient in random_gradients(5):
        optimizer.update_step(gradient, raw(variable), tf.constant(0.05))
        optimizer.iterations.assign_add(1)
    np.testing.assert_array_equal(number(variable), wanted)


def test_a_failed_step_leaves_nothing_for_the_next(monkeypatch):
    """The next gradient of one variable is not taken for one that was prepared with all others."""
    variable, optimizer = table(np.ones((ROWS, WIDTH))), LazyAdam(0.05, **GLOBAL)
    (gradient,) = random_gradients(1)
    with monkeypatch.context() as patch:
        patch.setattr(LazyAdam, "update_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            optimizer.apply_gradients([(gradient, variable)])
    with pytest.raises(RuntimeError, match="needs the gradients of all variables at once"):
        optimizer.update_step(gradient, raw(variable), tf.constant(0.05))


@KINDS
@pytest.mark.parametrize("options", [*OPTIONS, GLOBAL], ids=str)
def test_rows_are_summed_once(kind, options):
    """Looking for repeated rows is the dearest part of a sparse step."""
    variable, optimizer = table(np.ones((ROWS, WIDTH))), kind(0.05, **options)
    optimizer.build([variable])
    (gradient,) = random_gradients(1)
    step = tf.function(
        lambda values: optimizer.apply_gradients([(tf.IndexedSlices(values, gradient.indices), variable)])
    )
    operations = step.get_concrete_function(gradient.values).graph.get_operations()
    assert len([operation for operation in operations if operation.type.startswith("Unique")]) == 1


def test_a_variable_of_another_model_is_refused():
    mine, others = table(np.ones((ROWS, WIDTH))), table(np.ones((ROWS, WIDTH)))
    optimizer = LazyAdam()
    optimizer.build([mine])
    with pytest.raises(ValueError, match=r"built for other variables: \['embeddings.*Received: variable="):
        optimizer.index.place_of(others)
    assert optimizer.index.place_of(mine) == optimizer.index.place_of(raw(mine)) == 0


def test_keras_is_asked_neither_to_clip_nor_to_decay():
    """Its own would see the gradients of one replica, and whole tables."""
    for options in (*OPTIONS, GLOBAL):
        optimizer = LazyAdam(0.05, **options)
        of_keras = keras.optimizers.Optimizer.get_config(optimizer)
        assert not any(of_keras[name] for name in ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm"))
        assert optimizer.get_config().items() >= options.items()

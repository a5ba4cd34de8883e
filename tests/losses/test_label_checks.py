"""Labels and weights that no figure may be computed from are refused in words, eagerly, in graphs and on JAX."""

import numpy as np
import pytest
import tensorflow as tf
from harness import run_fresh

from tfmtl.losses import MaskedBinaryCrossentropy, MaskedKerasLoss, MaskedMeanSquaredError
from tfmtl.metrics import (
    MaskedAUC,
    MaskedCalibration,
    MaskedKerasMetric,
    MaskedLogLoss,
    MaskedRootMeanSquaredError,
)

NAN, INF = float("nan"), float("inf")
WRONG = [
    (MaskedBinaryCrossentropy, [1.0, NAN, -1.0], "0, 1 or NaN", "-1"),
    (MaskedBinaryCrossentropy, [1.0, 0.5], "0, 1 or NaN", "0.5"),
    (MaskedBinaryCrossentropy, [-INF, 1.0], "0, 1 or NaN", "-inf"),
    (MaskedMeanSquaredError, [1.0, 1e30], "finite", r"1e\+30"),
    (MaskedMeanSquaredError, [-INF, NAN], "finite", "-inf"),
    (lambda name: MaskedKerasLoss("mae", "binary", name), [5.0, 1.0], "0, 1 or NaN", "5"),
]


@pytest.mark.parametrize(("loss", "labels", "expected", "received"), WRONG)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_wrong_label_is_named(loss, labels, expected, received, compiled):
    loss = loss(name="buy")
    call = tf.function(loss) if compiled else loss
    error = tf.errors.InvalidArgumentError if compiled else ValueError
    with pytest.raises(error, match=rf"The labels of `buy` must be .*{expected}[^[]*Received:\]? \[?{received}"):
        call(tf.constant(labels), tf.fill([len(labels), 1], 0.5))


@pytest.mark.parametrize("loss", [MaskedBinaryCrossentropy, MaskedMeanSquaredError])
@pytest.mark.parametrize(("weight", "received"), [(-1.0, "-1"), (INF, "inf"), (NAN, "-?nan")])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_wrong_weight_is_named_where_there_is_a_label(loss, weight, received, compiled):
    call = tf.function(loss(name="buy")) if compiled else loss(name="buy")
    predictions, weights = tf.constant([[0.5], [0.5]]), tf.constant([1.0, weight])
    assert np.isfinite(call(tf.constant([1.0, NAN]), predictions, weights))
    error = tf.errors.InvalidArgumentError if compiled else ValueError
    with pytest.raises(error, match=rf"weights of `buy` must be finite and >= 0\. Received:\]? \[?{received}"):
        call(tf.constant([1.0, 0.0]), predictions, weights)


@pytest.mark.parametrize("compiled", [False, True])
def test_nothing_is_computed_from_a_wrong_label(compiled):
    weight, loss = tf.Variable(0.5), MaskedBinaryCrossentropy()

    def step(labels):
        with tf.GradientTape() as tape:
            value = loss(labels, tf.stack([weight, weight]))
        weight.assign_sub(tape.gradient(value, weight))

    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        (tf.function(step) if compiled else step)(tf.constant([1.0, -1.0]))
    assert weight.numpy() == 0.5


@pytest.mark.parametrize("loss", [MaskedBinaryCrossentropy, MaskedMeanSquaredError])
def test_xla_makes_it_nan(loss):
    """It drops what could raise; a loss that falls below 0 or is infinite must not pass for one."""
    call = tf.function(loss(), jit_compile=True)
    predictions = tf.constant([[0.5], [0.5]])
    assert np.isfinite(call(tf.constant([1.0, NAN]), predictions))
    assert np.isnan(call(tf.constant([1.0, -INF]), predictions))


@pytest.mark.parametrize("metric", [MaskedAUC, MaskedCalibration, MaskedLogLoss])
def test_metrics_of_binary_tasks_refuse_other_labels(metric):
    for wrong in (-1.0, 0.5, 5.0):
        with pytest.raises(ValueError, match=f"The labels of `mine` must be 0, 1 or NaN.*Received: {wrong:g}"):
            metric(name="mine").update_state([1.0, wrong], [0.5, 0.5])


@pytest.mark.parametrize("metric", [MaskedRootMeanSquaredError, lambda: MaskedKerasMetric("mae")])
def test_metrics_of_regressions_refuse_what_is_not_finite(metric):
    with pytest.raises(ValueError, match=r"must be NaN .missing. or finite.*Received: inf"):
        metric().update_state([1.0, INF], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"weights of .* must be finite.*Received: -2"):
        metric().update_state([1.0, 1.0], [0.5, 0.5], [1.0, -2.0])


@pytest.mark.parametrize("metric", [MaskedAUC, MaskedLogLoss, lambda: MaskedKerasMetric("binary_accuracy", "binary")])
def test_a_compiled_metric_is_nan_beside_a_wrong_label(metric):
    """There the loss refuses it; a metric without our losses must not be a number all the same."""
    streamed = metric()

    @tf.function
    def step(labels, predictions):
        streamed.update_state(labels, predictions)  # of which tf_keras returns what no tensor is

    step(tf.constant([1.0, 0.0, -1.0]), tf.constant([[0.5], [0.2], [0.4]]))
    assert np.isnan(streamed.result())


@pytest.mark.keras3
def test_a_step_of_jax_fails_with_the_sentence():
    pytest.importorskip("jax")
    run_fresh(
        """
        import jax, numpy as np, pytest
        from tfmtl.losses import MaskedBinaryCrossentropy
        loss = MaskedBinaryCrossentropy(name="buy")
        step = jax.jit(jax.value_and_grad(lambda p, labels: loss(labels, p)))
        value, slope = step(np.array([0.5, 0.5], "float32"), np.array([1, np.nan], "float32"))
        assert np.isfinite(value) and np.isfinite(slope).all()
        with pytest.raises(ValueError, match="The labels of `buy` must be 0, 1 or NaN .* Received: -1"):
            loss(np.array([1, -1]), np.array([0.5, 0.5], "float32"))
        with pytest.raises(RuntimeError, match="The labels of `buy` must be 0, 1 or NaN .* Received: -1"):
            step(np.array([0.5, 0.5], "float32"), np.array([1, -1], "float32"))
            jax.effects_barrier()
        """,
        env={"KERAS_BACKEND": "jax"},
    )

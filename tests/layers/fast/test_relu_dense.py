"""The experts' wide layer: its own gradients against those that TensorFlow derives."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.keras_host import keras, raw
from tfmtl.layers.experts import Experts
from tfmtl.layers.fast import relu_dense

RELU, TANH = keras.activations.relu, keras.activations.tanh


@pytest.fixture
def drawn():
    """`x`, `kernel`, `bias`, and the gradient of the output."""
    rng = np.random.default_rng(0)
    return [tf.constant(rng.normal(size=size), "float32") for size in ((7, 10), (6, 10), (6,), (7, 6))]


def dense(x, kernel, bias, activation, training):
    """The first layer of two experts, in the dtype of `x`."""
    experts = Experts(2, kernel.shape[0] // 2, activation=activation, dtype=x.dtype.name)
    return tf.reshape(experts.apply(x, [kernel], [bias], training), (-1, kernel.shape[0]))


def derived(drawn, activation, training):
    *inputs, up = drawn
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = dense(*inputs, activation, training)
    return [y, *tape.gradient(y, inputs, up)]


@pytest.mark.parametrize(("activation", "training", "calls"), [(RELU, True, 1), (RELU, None, 0), (TANH, True, 0)])
def test_serves_training_with_relu(drawn, activation, training, calls, monkeypatch):
    seen, original = [], relu_dense.relu_dense
    monkeypatch.setattr("tfmtl.layers.experts.relu_dense", lambda *given: seen.append(1) or original(*given))
    derived(drawn, activation, training)
    assert len(seen) == calls


@pytest.mark.parametrize("activation", [RELU, TANH])
def test_follows_the_equation(drawn, activation):
    x, kernel, bias, up = (values.numpy() for values in drawn)
    z = x @ kernel.T + bias
    slope = up * ((z > 0) if activation is RELU else 1 - np.tanh(z) ** 2)
    wanted = [np.maximum(z, 0) if activation is RELU else np.tanh(z), slope @ kernel, slope.T @ x, slope.sum(0)]
    for training in (None, True):
        for got, value in zip(derived(drawn, activation, training), wanted, strict=True):
            np.testing.assert_allclose(got.numpy(), value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("favors", [True, False])
def test_half_precision(drawn, dtype, favors, monkeypatch):
    monkeypatch.setattr(relu_dense, "cpu_favors_bfloat16", lambda: favors)
    half = [tf.cast(values, dtype) for values in drawn]
    for got, wanted in zip(derived(half, RELU, True), derived(half, RELU, False), strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(tf.cast(got, "float32"), tf.cast(wanted, "float32"), rtol=0.05, atol=0.05)


def test_a_cpu_that_is_slow_in_bfloat16_multiplies_the_same_numbers_in_float32(drawn, monkeypatch):
    monkeypatch.setattr(relu_dense, "cpu_favors_bfloat16", lambda: False)
    half = [tf.cast(values, "bfloat16") for values in drawn]
    graph = tf.function(lambda: derived(half, RELU, True)).get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert {tf.as_dtype(node.attr["T"].type) for node in nodes if node.op == "MatMul"} == {tf.float32}
    y, *gradients = derived(half, RELU, True)
    x, kernel, bias, up = (tf.cast(values, "float32") for values in half)
    up = tf.where(y > 0, up, 0.0)
    wanted = tf.nn.relu(x @ tf.transpose(kernel) + bias), up @ kernel, tf.transpose(up) @ x, tf.reduce_sum(up, 0)
    for got, exact in zip([y, *gradients], wanted, strict=True):
        np.testing.assert_array_equal(got, tf.cast(exact, "bfloat16"))  # rounded once, at the end


def test_the_sum_of_a_long_batch_keeps_its_precision():
    """bfloat16 cannot count to 4096 one by one."""
    rows = 4096
    inputs = [tf.ones(size, "bfloat16") for size in ((rows, 1), (2, 1), (2,), (rows, 2))]
    assert derived(inputs, RELU, True)[3].numpy().astype("float32").tolist() == [rows, rows]


def test_is_twice_differentiable(drawn):
    x, kernel, bias, _ = drawn

    def norm_of_slope(training):
        with tf.GradientTape() as outer:
            outer.watch(kernel)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(dense(x, kernel, bias, RELU, training) ** 2)
            slope = tf.reduce_sum(inner.gradient(y, x) ** 2)
        return outer.gradient(slope, kernel)

    np.testing.assert_allclose(norm_of_slope(True), norm_of_slope(False), rtol=1e-4, atol=1e-4)


def test_a_tape_that_lasts_costs_no_more_products(drawn):
    """Under one TensorFlow prepares for second derivatives, even of what has none."""
    *inputs, up = drawn

    @tf.function
    def slopes(persistent):
        with tf.GradientTape(persistent=persistent) as tape:
            tape.watch(inputs)
            y = dense(*inputs, RELU, True)
        return tape.gradient(y, inputs, up)

    def products(persistent):
        graph = slopes.get_concrete_function(persistent).graph.as_graph_def()
        bodies = {function.signature.name: function.node_def for function in graph.library.function}
        called = [node for node in graph.node if node.op == "PartitionedCall"]
        assert len(called) == 2  # forward and backward
        nodes = [inner for node in called for inner in bodies[node.attr["f"].func.name]]
        return sum(node.op == "MatMul" for node in nodes)

    assert products(True) == products(False) == 4


def test_nothing_is_kept_of_a_graph_that_was_trained():
    """TensorFlow never forgets a gradient of one's own, nor the graph that it was traced in."""

    def handles_of_trained_weights():
        experts = Experts(2, 4)
        experts.build((None, 3))
        weights = [raw(weight) for weight in experts.trainable_weights]

        @tf.function
        def step(x):
            with tf.GradientTape() as tape:
                y = experts(x, training=True)
            return tape.gradient(y, weights)

        assert len(step(tf.ones((4, 3)))) == 2
        return [weakref.ref(weight.handle) for weight in weights]

    handles = handles_of_trained_weights()
    gc.collect()
    assert all(handle() is None for handle in handles)

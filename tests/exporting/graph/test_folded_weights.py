"""What depends on weights alone is computed before it is written."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.exporting.graph.folded_weights import fold_weights
from tfmtl.exporting.graph.traced_function import concrete_function, trace

X = {"x": tf.TensorSpec((None, 4), tf.float32)}
ROWS = tf.constant(np.random.default_rng(0).normal(size=(3, 4)).astype("float32"))


def weight(*shape, seed=0):
    return tf.Variable(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def folded(function):
    """`function` of `(B, 4)`, traced and written anew with its weights folded; and what it was traced to."""
    traced = trace(lambda given: {"y": function(given["x"])}, X)
    outputs = list(traced.outputs.values())
    found = fold_weights(traced, outputs)
    cut = concrete_function(lambda x: {"y": found.insert({found.inputs["x"].name: x}, outputs)[0]}, X)
    np.testing.assert_allclose(cut(x=ROWS)["y"], function(ROWS), rtol=1e-5, atol=1e-5)
    return cut, found


def types(cut):
    return [op.type for op in cut.graph.get_operations()]


def shapes(cut):
    """Of the weights that are read, in order."""
    return sorted(tuple(op.outputs[0].shape) for op in cut.graph.get_operations() if op.type == "ReadVariableOp")


def test_a_kernel_that_lies_transposed_is_written_as_it_is_read():
    kernel = weight(2, 4)
    cut, found = folded(lambda x: x @ tf.transpose(kernel))
    assert "Transpose" not in types(cut)
    assert shapes(cut) == [(4, 2)]
    assert {id(variable.handle) for variable in found.variables} >= {id(handle) for handle in cut.captured_inputs}


def test_weights_that_are_joined_become_one():
    kernels, scale = [weight(4, 2, seed=seed) for seed in range(5)], weight()
    cut, _ = folded(lambda x: x @ tf.concat([tf.exp(scale) * kernel for kernel in kernels], 1))
    assert shapes(cut) == [(4, 10)] and len(cut.captured_inputs) == 1


def test_a_weight_that_is_read_as_it_is_stays_itself():
    kernel = weight(4, 4)
    cut, found = folded(lambda x: x @ tf.identity(kernel))
    assert [id(handle) for handle in cut.captured_inputs] == [id(kernel.handle)]
    assert not found.folded


def test_what_takes_more_room_than_its_weights_is_left():
    row, column = weight(1, 64), weight(4, 1)
    cut, _ = folded(lambda x: x @ (column * row))
    assert shapes(cut) == [(1, 64), (4, 1)]


def test_a_table_that_is_also_read_as_it_is_is_not_written_twice():
    table = weight(4, 64)
    cut, found = folded(lambda x: tf.gather(table, tf.argmax(x, 1)) @ tf.transpose(tf.exp(tf.identity(table))))
    assert shapes(cut) == [(4, 64)] and len(cut.captured_inputs) == 1 and not found.folded


def test_half_precision_is_written_in_half_precision():
    kernel = weight(4, 2)
    cut, _ = folded(lambda x: tf.cast(x, tf.float16) @ tf.cast(kernel, tf.float16))
    assert [op.outputs[0].dtype for op in cut.graph.get_operations() if op.type == "ReadVariableOp"] == [tf.float16]


def test_constants_are_computed_too_if_they_are_small():
    def function(x):
        sizes = tf.concat([tf.constant([1]), tf.constant([4]) - tf.constant([1])], 0)
        few, many = tf.split(x, sizes, axis=1, num=2)
        return tf.concat([many, few], 1) + tf.reduce_sum(tf.ones((2000, 4)), 0, keepdims=True)

    cut, _ = folded(function)
    assert "Sub" not in types(cut)
    assert "Sum" not in types(cut)  # its result is small
    large, _ = folded(lambda x: tf.reduce_sum(x[:, None] + tf.fill((2000, 4), 1.0), 1))
    assert "Fill" in types(large)


@pytest.mark.parametrize("chance", [lambda: tf.random.uniform((4, 4)), lambda: tf.random.normal((4, 4))])
def test_what_is_drawn_anew_at_each_call_is_not_folded(chance):
    kernel = weight(4, 4)
    traced = trace(lambda given: {"y": given["x"] @ (kernel + chance())}, X)
    assert not fold_weights(traced, list(traced.outputs.values())).folded


def test_a_variable_that_calls_change_is_read_anew():
    calls, kernel = tf.Variable(0.0), weight(4, 4)

    @tf.function
    def counted():
        return calls.assign_add(1.0)

    traced = trace(lambda given: {"y": given["x"] @ (calls * kernel) + counted()}, X)
    found = fold_weights(traced, list(traced.outputs.values()))
    assert not [value for value in found.folded.values() if isinstance(value, tf.Variable)]


def test_what_nobody_asks_for_is_not_computed():
    kernel, other = weight(2, 4), weight(3, 4)
    traced = trace(lambda given: {"y": given["x"] @ tf.transpose(kernel), "z": given["x"] @ tf.transpose(other)}, X)
    found = fold_weights(traced, [traced.outputs["y"]])
    assert [tuple(variable.shape) for variable in found.folded.values()] == [(4, 2)]

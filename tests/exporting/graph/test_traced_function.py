"""Pieces of a traced graph in other functions: what is asked for, and nothing else."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.exporting.graph.traced_function import concrete_function, trace

SPEC = {"x": tf.TensorSpec((None,), tf.float32), "y": tf.TensorSpec((None,), tf.float32)}
ONES = {"x": tf.ones(3), "y": tf.fill([3], 2.0)}


@pytest.fixture
def weights():
    return tf.Variable(3.0), tf.Variable(5.0)


@pytest.fixture
def traced(weights):
    first, second = weights

    def function(given):
        middle = given["x"] * first
        return {"a": middle + 1.0, "b": middle * given["y"] * second, "same": given["y"]}

    return trace(function, SPEC)


def cut(traced, *names):
    def function(**given):
        replaced = {traced.inputs[name].name: tensor for name, tensor in given.items()}
        return dict(zip(names, traced.insert(replaced, [traced.outputs[name] for name in names]), strict=True))

    return concrete_function(function, SPEC)


def types(function):
    return [op.type for op in function.graph.get_operations()]


def test_gives_what_the_whole_gives(traced):
    answer = cut(traced, "a", "b", "same")(**ONES)
    np.testing.assert_allclose(answer["a"], [4] * 3)
    np.testing.assert_allclose(answer["b"], [30] * 3)
    np.testing.assert_allclose(answer["same"], [2] * 3)


def test_reads_only_what_an_output_needs(traced, weights):
    first, second = weights
    assert {id(handle) for handle in cut(traced, "a").captured_inputs} == {id(first.handle)}
    assert {id(handle) for handle in cut(traced, "b").captured_inputs} == {id(first.handle), id(second.handle)}
    assert types(cut(traced, "a")).count("Mul") == 1
    assert types(cut(traced, "same")).count("Mul") == 0


def test_keeps_the_names_of_all_inputs(traced):
    assert sorted(cut(traced, "a").structured_input_signature[1]) == ["x", "y"]


def test_follows_a_weight_that_changes(traced, weights):
    function = cut(traced, "a")
    weights[0].assign(7.0)
    np.testing.assert_allclose(function(**ONES)["a"], [8] * 3)


def test_starts_at_a_tensor_in_the_middle():
    middle = []

    def function(given):
        middle.append(tf.exp(given["x"]))
        return {"z": middle[0] * 2.0}

    traced = trace(function, {"x": SPEC["x"]})

    def rest(m):
        return {"z": traced.insert({middle[0].name: m}, [traced.outputs["z"]])[0]}

    rest = concrete_function(rest, {"m": SPEC["x"]})
    np.testing.assert_allclose(rest(m=tf.constant([1.0, 2.0]))["z"], [2, 4])
    assert "Exp" not in types(rest)


def test_takes_along_the_functions_that_are_called_and_no_others():
    @tf.function
    def doubled(x):
        return 2.0 * x

    @tf.function
    def unused(x):
        return 3.0 * x

    def loop(x):
        return tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, doubled(x)), (0, x), shape_invariants=None)[1]

    traced = trace(lambda given: {"a": loop(given["x"]), "b": unused(given["x"])}, SPEC)
    function = cut(traced, "a")
    np.testing.assert_allclose(function(**ONES)["a"], [8] * 3)
    library = [f.signature.name for f in function.graph.as_graph_def().library.function]
    assert any("doubled" in name for name in library)
    assert not any("unused" in name for name in library)


def test_reads_tables_and_constants_from_outside():
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([4])), -1)
    shift = tf.constant([10.0])
    traced = trace(
        lambda given: {"z": tf.cast(table.lookup(given["s"]), tf.float32) + shift},
        {"s": tf.TensorSpec((None,), tf.string)},
    )

    def again(s):
        return {"z": traced.insert({traced.inputs["s"].name: s}, [traced.outputs["z"]])[0]}

    function = concrete_function(again, {"s": tf.TensorSpec((None,), tf.string)})
    np.testing.assert_allclose(function(s=tf.constant(["a", "b"]))["z"], [14, 9])

"""A function that others call without a look inside."""

import numpy as np
import tensorflow as tf

from tfmtl.exporting.graph.called_function import CalledFunction
from tfmtl.exporting.graph.traced_function import concrete_function

COLUMNS = {f"x {place}": tf.TensorSpec((None, 2), tf.float32) for place in range(12)}


def test_it_answers_by_name_and_its_shapes_are_known_unseen():
    weight = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    called = CalledFunction(lambda **x: {f"y {name}": x[name] @ weight for name in reversed(COLUMNS)}, COLUMNS)
    shapes = []

    def caller(stacked):
        pieces = tf.unstack(stacked, len(COLUMNS), axis=1)
        answers = called(**dict(reversed(list(zip(COLUMNS, pieces, strict=True)))))
        shapes.extend(y.shape.as_list() for y in answers.values())
        return answers

    concrete = concrete_function(caller, {"stacked": tf.TensorSpec((None, None, None), tf.float32)})
    (call,) = (op for op in concrete.graph.get_operations() if "PartitionedCall" in op.type)
    assert call.get_attr("_disable_call_shape_inference") and shapes == [[None, 2]] * len(COLUMNS)
    stacked = np.random.default_rng(0).normal(size=(3, len(COLUMNS), 2)).astype("float32")
    answers = concrete(stacked=tf.constant(stacked))
    for place, name in enumerate(COLUMNS):
        np.testing.assert_allclose(answers[f"y {name}"], stacked[:, place] @ weight.numpy(), rtol=1e-6)
    weight.assign(-weight)  # read anew, by each caller
    np.testing.assert_allclose(concrete(stacked=tf.constant(stacked))["y x 0"], -answers["y x 0"])

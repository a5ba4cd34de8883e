"""`rank` gives what the repeated rows would have given, and computes the user's share once."""

import numpy as np
import pytest
import tensorflow as tf
from small_ranker import SCHEMA, as_tensors, random_rows, small_model

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.keras_host import keras
from tfmtl.models.bottoms import SharedBottomRepresentation, STEMRepresentation
from tfmtl.models.build import build, encoded_inputs
from tfmtl.models.heads import Towers
from tfmtl.models.trunks import CGC, MMoE
from tfmtl.serving.endpoints import trace_whole
from tfmtl.serving.graphs import concrete_function, trace
from tfmtl.serving.late_broadcast import LateBroadcast
from tfmtl.serving.loading import Bundle
from tfmtl.serving.server.graph_session import GraphSession

TASKS = SCHEMA.task_names
USER = ["city", "age", "seen_item", "seen_city"]


def model_of(bottom, trunk):
    return build(SCHEMA, bottom(SCHEMA.features, TASKS), trunk, Towers(SCHEMA.tasks, units=(4,)))


def attentive_model():
    """The candidate looks at the history; then normalisation, a shape that depends on the batch, and an outer product."""
    inputs = encoded_inputs(SCHEMA.features)
    items = keras.layers.Embedding(21, 4)
    events, item = items(inputs["seen_item"]), items(inputs["item"])
    scores = keras.layers.Softmax()(keras.layers.Dot((2, 1))([events, item]), mask=inputs["seen_mask"])
    attended = keras.layers.Dot((1, 1))([scores, events])
    city = keras.layers.Embedding(4, 4)(inputs["city"])
    both = keras.layers.LayerNormalization()(keras.layers.Concatenate()([city, item, attended]))
    both = keras.layers.BatchNormalization(gamma_initializer="random_normal")(both)
    flat = keras.layers.Flatten()(keras.layers.Reshape((3, 4))(both))
    crossed = keras.layers.Flatten()(
        keras.layers.Dot((2, 2))([keras.layers.Reshape((4, 1))(city), keras.layers.Reshape((4, 1))(item)])
    )
    x = keras.layers.Dense(8, "tanh")(keras.layers.Concatenate()([flat, crossed, city]))
    unused = [
        keras.layers.Flatten()(keras.layers.Embedding(30, 1)(inputs[name])) for name in ("device", "age", "seen_city")
    ]
    x = keras.layers.Concatenate()([x, *unused])
    return keras.Model(inputs, {task: keras.layers.Dense(1)(x) for task in TASKS})


def linear_and_deep():
    """First layers side by side with what they read, and added up."""
    inputs = encoded_inputs(SCHEMA.features)
    columns = [
        keras.layers.Flatten()(keras.layers.Embedding(30, 2)(inputs[name]))
        for name in ("city", "age", "item", "device")
    ]
    history = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(30, 2)(inputs["seen_item"]))
    x = keras.layers.Concatenate()([*columns, history])
    linear, deep = keras.layers.Dense(3, bias_initializer="random_normal")(x), keras.layers.Dense(3, "relu")(x)
    both = keras.layers.Concatenate()([linear, keras.layers.Add()([linear, deep]), x, columns[0]])
    return keras.Model(inputs, {task: keras.layers.Dense(1)(both) for task in TASKS})


MODELS = {
    "plain": small_model,
    "attentive": attentive_model,
    "linear and deep": linear_and_deep,
    "fused tables, experts": lambda: model_of(
        SharedBottomRepresentation, CGC(8, num_task_experts=2, num_shared_experts=2)
    ),
    "tables a task": lambda: model_of(
        STEMRepresentation,
        CGC((8, 4), num_task_experts=1, num_shared_experts=1, cross_task="detached", gate_input="sum"),
    ),
    "deep experts": lambda: model_of(SharedBottomRepresentation, MMoE((8, 4), num_experts=3)),
}


def ranked(whole):
    """`rank` by hand: `{name: (1, ...) or (N, ...)}` -> predictions."""

    def function(**given):
        once = {name: given[name] for name in USER}
        each = {name: tensor for name, tensor in given.items() if name not in USER}
        copies = LateBroadcast(whole.traced, once, each).fetch([whole.traced.outputs[task] for task in TASKS])
        return dict(zip(TASKS, copies, strict=True))

    specs = {
        name: tf.TensorSpec((1, *spec.shape[1:]), spec.dtype) if name in USER else spec
        for name, spec in whole.raw_signature.items()
    }
    return concrete_function(function, specs)


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_repeated_rows(name):
    model, preprocessor = MODELS[name](), Preprocessor(SCHEMA.features)
    function = ranked(trace_whole(model, preprocessor, TASKS, None))
    rows = as_tensors(random_rows(40))
    for user in range(0, 40, 8):  # histories of several lengths, one of them empty
        one = {name: rows[name][user : user + 1] for name in USER}
        full = rows | {name: tf.repeat(column, 40, axis=0) for name, column in one.items()}
        expected = model(preprocessor(full), training=False)
        for task, answer in function(**(rows | one)).items():
            np.testing.assert_allclose(answer, expected[task], rtol=1e-5, atol=1e-6)


def test_looks_up_and_multiplies_the_users_columns_once():
    """Every table lookup and every matmul with the first layer's kernels that is not for candidates has one row."""
    model = MODELS["fused tables, experts"]()
    rank = ranked(trace_whole(model, Preprocessor(SCHEMA.features), TASKS, None))
    lookups = [op for op in rank.graph.get_operations() if op.type == "ResourceGather"]
    assert sorted(op.outputs[0].shape[0] or 0 for op in lookups) == [0, 1]
    history = [op for op in lookups if op.outputs[0].shape[0] == 1]
    assert [op.outputs[0].shape[1] for op in history] == [1 + 1 + 2 * 5]  # city, age and five events of two fields
    first_layer = [op for op in rank.graph.get_operations() if op.type == "MatMul" and op.inputs[0].shape[0] == 1]
    assert {op.inputs[0].shape[1] for op in first_layer} == {4 * 4}
    assert not [op for op in rank.graph.get_operations() if op.type == "Tile"]


def test_what_is_not_made_of_rows_is_computed_from_the_repeated_rows():
    def function(given):
        rows = tf.shape(given["user"])[0]
        return {"z": tf.reshape(tf.concat([given["user"], given["item"]], 1), [rows, 2]) * tf.cast(rows, tf.float32)}

    spec = tf.TensorSpec((None, 1), tf.float32)
    traced = trace(function, {"user": spec, "item": spec})

    def rank(user, item):
        return {"z": LateBroadcast(traced, {"user": user}, {"item": item}).fetch([traced.outputs["z"]])[0]}

    rank = concrete_function(rank, {"user": tf.TensorSpec((1, 1), tf.float32), "item": spec})
    np.testing.assert_allclose(rank(user=[[5.0]], item=tf.ones((3, 1)))["z"], [[15, 3]] * 3)


def test_a_prediction_of_the_user_alone_is_repeated():
    traced = trace(
        lambda given: {"z": given["user"] * 2.0},
        {name: tf.TensorSpec((None,), tf.float32) for name in ("user", "item")},
    )

    def rank(user, item):
        return {"z": LateBroadcast(traced, {"user": user}, {"item": item}).fetch([traced.outputs["z"]])[0]}

    rank = concrete_function(
        rank, {"user": tf.TensorSpec((1,), tf.float32), "item": tf.TensorSpec((None,), tf.float32)}
    )
    np.testing.assert_allclose(rank(user=[2.0], item=tf.zeros(3))["z"], [4, 4, 4])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_any_number_of_candidates(exported, count):
    bundle, rows = Bundle(exported), random_rows(count)
    user = {name: column[:1] for name, column in random_rows(3).items() if name in USER}
    answer = bundle({**rows, **user, "click_weight": [1.0], "buy_weight": [1.0]}, "rank")
    assert {tuple(y.shape) for y in answer.values()} == {(count, 1)}


def test_two_users_at_once_are_refused(exported):
    """By the graph: a server checks no shapes."""
    session = GraphSession(exported)
    rank = session.signatures["rank"]
    rows = as_tensors(random_rows(2)) | {"click_weight": tf.ones(1), "buy_weight": tf.ones(1)}
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"is not compatible with expected shape \[1"):
        session.run({rank.inputs[name].name: x.numpy() for name, x in rows.items()}, [rank.outputs["click"].name])

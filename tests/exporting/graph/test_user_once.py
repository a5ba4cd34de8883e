"""`rank` gives what the repeated rows would have given, and computes the user's share once."""

import numpy as np
import pytest
import tensorflow as tf
from small_ranker import SCHEMA, WithoutNaN, as_tensors, random_rows, small_model

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting.graph.traced_function import concrete_function, trace
from tfmtl.exporting.graph.user_once import UserOnce
from tfmtl.exporting.rank_signature import rank_signature
from tfmtl.exporting.traced_model import trace_model
from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.models.build import build, encoded_inputs
from tfmtl.models.presets.dtrn import dtrn
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task
from tfmtl.serving.server.graph_session import GraphSession
from tfmtl.stages.bottoms import SharedBottomRepresentation, STEMRepresentation
from tfmtl.stages.heads import Towers
from tfmtl.stages.trunks import CGC, MMoE

TASKS = SCHEMA.task_names
USER = ["city", "age", "seen_item", "seen_city"]


def model_of(bottom, trunk):
    return build(SCHEMA, bottom(SCHEMA.features, TASKS), trunk, Towers(SCHEMA.tasks, units=(4,)))


def price_and_style(inputs):
    return WithoutNaN()(keras.layers.Concatenate()([keras.layers.Reshape((1,))(inputs["price"]), inputs["style"]]))


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
    x = keras.layers.Concatenate()([x, *unused, price_and_style(inputs)])
    return keras.Model(inputs, {task: keras.layers.Dense(1)(x) for task in TASKS})


def linear_and_deep():
    """First layers side by side with what they read, and added up."""
    inputs = encoded_inputs(SCHEMA.features)
    columns = [
        keras.layers.Flatten()(keras.layers.Embedding(30, 2)(inputs[name]))
        for name in ("city", "age", "item", "device")
    ]
    events = [keras.layers.Embedding(30, 2)(inputs[name]) for name in ("seen_item", "seen_city")]
    history = keras.layers.GlobalAveragePooling1D()(keras.layers.Add()(events), mask=inputs["seen_mask"])
    x = keras.layers.Concatenate()([*columns, history, price_and_style(inputs)])
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


def ranked(whole, user=USER, tasks=TASKS):
    """`rank` by hand: `{name: (1, ...) or (N, ...)}` -> predictions."""

    def function(**given):
        once = {name: given[name] for name in user}
        each = {name: tensor for name, tensor in given.items() if name not in user}
        return UserOnce(whole.function, once, each).compute(tasks)

    specs = {
        name: tf.TensorSpec((1, *spec.shape[1:]), spec.dtype) if name in user else spec
        for name, spec in whole.raw_signature.items()
    }
    return concrete_function(function, specs)


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_repeated_rows(name):
    model, preprocessor = MODELS[name](), Preprocessor(SCHEMA.features)
    function = ranked(trace_model(model, inputs_by_name(model), preprocessor, TASKS))
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
    rank = ranked(trace_model(model, inputs_by_name(model), Preprocessor(SCHEMA.features), TASKS))
    lookups = [op for op in rank.graph.get_operations() if op.type == "ResourceGather"]
    assert sorted(op.outputs[0].shape[0] or 0 for op in lookups) == [0, 1]
    history = [op for op in lookups if op.outputs[0].shape[0] == 1]
    assert [op.outputs[0].shape[1] for op in history] == [1 + 1 + 2 * 5]  # city, age and five events of two fields
    products = [op.inputs[0].shape for op in rank.graph.get_operations() if op.type == "MatMul"]
    assert {shape[1] for shape in products if shape[0] == 1} == {32}
    # Candidates: device, item, price and style with their flags; then the towers, and 8 units to a gate or head.
    assert {shape[1] for shape in products if shape[0] is None} == {4 + 4 + 2 + 6, 8, 4}
    assert not [op for op in rank.graph.get_operations() if op.type == "Tile"]


@pytest.mark.parametrize("bottom", [SharedBottomRepresentation, STEMRepresentation])
def test_columns_of_one_width_are_looked_up_for_the_user_once(bottom):
    """In one lookup for the user and one for the candidates, though in training one serves both."""
    user, item = ["city", "device", "age"], ["brand", "price"]
    sides = {name: "user" if name in user else "item" for name in (*user[:2], *item, user[2])}
    features = [Categorical(name, num_ids=9, dim=4, side=side) for name, side in sides.items()]
    schema = Schema(features, [Task("click")])
    model = build(
        schema, bottom(features, ("click",)), MMoE((8,), num_experts=3), Towers(schema.tasks, units=(4,)), name="ranker"
    )
    preprocessor = Preprocessor(features)
    rank = ranked(trace_model(model, inputs_by_name(model), preprocessor, ("click",)), user, ("click",))
    lookups = [op.outputs[0].shape[:2] for op in rank.graph.get_operations() if op.type == "ResourceGather"]
    assert sorted(lookups, key=str) == [(1, len(user)), (None, len(item))]
    assert not [op for op in rank.graph.get_operations() if op.type == "Tile"]
    shapes = [op.inputs[0].shape for op in rank.graph.get_operations() if op.type == "MatMul"]
    assert 4 * len(user) not in {shape[1] for shape in shapes if shape[0] is None}
    rng = np.random.default_rng(0)
    rows = {name: tf.constant(rng.integers(0, 9, 7)) for name in (*user, *item)}
    one = {name: rows[name][:1] for name in user}
    expected = model(preprocessor(rows | {name: tf.repeat(ids, 7) for name, ids in one.items()}), training=False)
    np.testing.assert_allclose(rank(**(rows | one))["click"], expected["click"], rtol=1e-5, atol=1e-6)


def test_what_is_not_made_of_rows_is_computed_from_the_repeated_rows():
    def function(given):
        rows = tf.shape(given["user"])[0]
        return {"z": tf.reshape(tf.concat([given["user"], given["item"]], 1), [rows, 2]) * tf.cast(rows, tf.float32)}

    spec = tf.TensorSpec((None, 1), tf.float32)
    traced = trace(function, {"user": spec, "item": spec})

    def rank(user, item):
        return {"z": UserOnce(traced, {"user": user}, {"item": item}).compute(["z"])["z"]}

    rank = concrete_function(rank, {"user": tf.TensorSpec((1, 1), tf.float32), "item": spec})
    np.testing.assert_allclose(rank(user=[[5.0]], item=tf.ones((3, 1)))["z"], [[15, 3]] * 3)


def test_a_prediction_of_the_user_alone_is_repeated():
    traced = trace(
        lambda given: {"z": given["user"] * 2.0},
        {name: tf.TensorSpec((None,), tf.float32) for name in ("user", "item")},
    )

    def rank(user, item):
        return {"z": UserOnce(traced, {"user": user}, {"item": item}).compute(["z"])["z"]}

    rank = concrete_function(
        rank, {"user": tf.TensorSpec((1,), tf.float32), "item": tf.TensorSpec((None,), tf.float32)}
    )
    np.testing.assert_allclose(rank(user=[2.0], item=tf.zeros(3))["z"], [4, 4, 4])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_any_number_of_candidates(loaded, count):
    rows = random_rows(count)
    user = {name: column[:1] for name, column in random_rows(3).items() if name in USER}
    answer = loaded({**rows, **user, "click_weight": [1.0], "buy_weight": [1.0]}, "rank")
    assert {tuple(y.shape) for y in answer.values()} == {(count, 1)}


def test_two_users_at_once_are_refused(exported):
    """By the graph: a server checks no shapes."""
    session = GraphSession(exported)
    rank = session.signatures["rank"]
    rows = as_tensors(random_rows(2)) | {"click_weight": tf.ones(1), "buy_weight": tf.ones(1)}
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"is not compatible with expected shape \[1"):
        session.run({rank.inputs[name].name: x.numpy() for name, x in rows.items()}, [rank.outputs["click"].name])


def rank_of(function, user, item):
    """`function({"user": (1, ...), "item": (N, ...)})` as `rank` computes it, and its operations."""
    specs = {name: tf.TensorSpec((None, *x.shape[1:]), tf.float32) for name, x in (("user", user), ("item", item))}
    traced = trace(lambda given: {"z": function(given["user"], given["item"])}, specs)

    def rank(user, item):
        return {"z": UserOnce(traced, {"user": user}, {"item": item}).compute(["z"])["z"]}

    once = specs | {"user": tf.TensorSpec(user.shape, tf.float32)}
    concrete = concrete_function(rank, once)
    answer = concrete(user=tf.constant(user), item=tf.constant(item))["z"].numpy()
    repeated = {"user": tf.constant(np.repeat(user, len(item), axis=0)), "item": tf.constant(item)}
    np.testing.assert_allclose(answer, function(repeated["user"], repeated["item"]), rtol=1e-5, atol=1e-6)
    return [op.type for op in concrete.graph.get_operations()], concrete


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


KEYS, QUERIES, QUERY = numbers(1, 5, 4), numbers(7, 4, 3), numbers(7, 4)


@pytest.mark.parametrize(
    ("function", "item"),
    [
        (lambda keys, query: tf.matmul(keys, query[:, :, None])[..., 0], QUERY),
        (lambda keys, query: tf.matmul(query[:, None], keys, transpose_b=True)[:, 0], QUERY),
        (lambda keys, queries: tf.matmul(keys, queries), QUERIES),
        (lambda keys, queries: tf.matmul(tf.transpose(queries, (0, 2, 1)), tf.transpose(keys, (0, 2, 1))), QUERIES),
        (lambda keys, query: keys - query[:, None], QUERY),
        (lambda keys, query: tf.where(keys > query[:, None], keys, 0.0), QUERY),
        # Tasks first, rows second, as DTRN has them; the rows next to the matrices, or not.
        (lambda keys, query: tf.matmul(tf.stack([keys, 2 * keys]), query[None, :, :, None])[0], QUERY),
        (lambda keys, query: tf.matmul(tf.stack([keys, 2 * keys], 1), query[:, None, :, None])[:, 1], QUERY),
    ],
)
def test_the_users_rows_are_broadcast_not_repeated(function, item):
    types, _ = rank_of(function, KEYS, item)
    assert "Tile" not in types


def test_candidates_multiply_the_users_keys_as_one_matrix():
    _, rank = rank_of(lambda keys, query: tf.matmul(keys, query[:, :, None])[..., 0], KEYS, QUERY)
    (product,) = [op for op in rank.graph.get_operations() if op.type.startswith("BatchMatMul") or op.type == "MatMul"]
    assert {x.shape.rank for x in product.inputs} == {2}


def test_rows_that_share_an_axis_keep_their_order():
    """Two histories of a user in one batch: repeated, the first history comes N times, then the second."""

    def function(user, item):
        both = tf.reshape(tf.stack([user, 10 * user]), (-1, 2))  # (2 B, 2)
        return tf.transpose(tf.reshape(both * tf.concat([item, item], 0), (2, -1, 2)), (1, 0, 2))

    rank_of(function, numbers(1, 2), numbers(5, 2))


@pytest.mark.parametrize(
    "multiply",
    [
        tf.matmul,
        lambda x, weights: tf.matmul(x, tf.constant(weights.T), transpose_b=True),
        lambda x, weights: tf.matmul(x, tf.transpose(tf.constant(weights.T))),
        lambda x, weights: tf.matmul(x, tf.transpose(tf.constant(weights)), transpose_b=True),
    ],
)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_flattened_columns_stay_apart(order, multiply):
    weights = numbers(5 * 4, 3)

    def function(user, item):
        fields = [user, item]
        flat = tf.reshape(tf.concat([fields[i] for i in order], 1), (-1, 5 * 4))
        return multiply(flat, weights)

    types, rank = rank_of(function, numbers(1, 3, 4), numbers(6, 2, 4))
    products = [op.inputs[0].shape.as_list() for op in rank.graph.get_operations() if op.type == "MatMul"]
    assert products == [[1, 5 * 4], [None, 2 * 4]]
    assert "Tile" not in types


@pytest.mark.parametrize("shape", [(-1, 4, 5), (-1, 10, 2), (-1, 2, 10), (-1, 20)])
def test_columns_cut_anew(shape):
    """Of (B, 5, 4) of which three columns are the user's; at other widths a column may be partly theirs."""
    rank_of(lambda user, item: tf.reshape(tf.concat([user, item], 1), shape) ** 2, numbers(1, 3, 4), numbers(6, 2, 4))


def histories_model():
    events = (Categorical("item", num_ids=20, dim=4, table="items"),)
    schema = Schema(
        [
            Categorical("item", num_ids=20, dim=4, table="items", side="item"),
            Categorical("city", num_ids=9, dim=4, side="user"),
            Numeric("price", transform=None, side="item"),
            Sequence("seen", events, length=7, side="user"),
            Sequence("bought", events, length=7, side="user"),
            Sequence("liked", events, length=8, side="user"),
        ],
        [Task("click"), Task("buy")],
    )
    return schema, dtrn(schema, target="item", units=(8,), tower_units=(4,))


def test_dtrn_reads_the_users_histories_once():
    schema, model = histories_model()
    for weight in model.weights:  # what starts at zero would hide the hypernetwork
        weight.assign(weight + 0.3 * np.random.default_rng(len(weight.shape)).normal(size=weight.shape))
    preprocessor = Preprocessor(schema.features)
    rank = rank_signature(trace_model(model, inputs_by_name(model), preprocessor, schema.task_names), schema).concrete
    rng = np.random.default_rng(1)
    user = {f"{name}_item": rng.integers(-1, 20, (1, 6)) for name in ("seen", "bought", "liked")} | {
        "city": np.array([3])
    }
    items = {"item": rng.integers(-1, 20, 11), "price": rng.normal(size=11).astype("float32")}
    full = {name: np.repeat(column, 11, axis=0) for name, column in user.items()} | items
    expected = model(preprocessor(full), training=False)
    for task, answer in rank(**{name: tf.constant(column) for name, column in (user | items).items()}).items():
        np.testing.assert_allclose(answer, expected[task], rtol=1e-5, atol=1e-6)
    shapes = [y.shape for op in rank.graph.get_operations() for y in op.outputs if y.shape.rank]
    events = [
        shape for shape in shapes if shape.rank > 2 and None in shape.as_list() and shape[-2:] in ([7, 4], [8, 4])
    ]
    assert not events  # no history's events stand there once for each candidate


def test_a_string_that_is_looked_up_counts_as_one_row():
    schema = Schema(
        [Categorical("city", vocabulary=("Oslo", "Rome"), side="user"), Categorical("item", num_ids=5, side="item")],
        [Task("click")],
    )
    inputs = encoded_inputs(schema.features)
    vectors = [keras.layers.Embedding(6, 4)(inputs[name]) for name in ("city", "item")]
    model = keras.Model(inputs, {"click": keras.layers.Dense(1)(keras.layers.Multiply()(vectors))})
    preprocessor = Preprocessor(schema.features)
    rank = rank_signature(trace_model(model, inputs_by_name(model), preprocessor, ("click",)), schema).concrete
    answer = rank(city=tf.constant(["Rome"]), item=tf.range(5, dtype=tf.int64))["click"]
    full = {"city": tf.repeat("Rome", 5), "item": tf.range(5, dtype=tf.int64)}
    np.testing.assert_allclose(answer, model(preprocessor(full))["click"], rtol=1e-5)
    assert not [op for op in rank.graph.get_operations() if op.type == "Tile"]

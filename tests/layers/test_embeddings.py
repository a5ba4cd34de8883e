"""FeatureEmbedding and STEMEmbedding: what a field is, and which table may learn from whom."""

import numpy as np
import pytest
from harness import assert_all_trained, assert_reloads, gradients, ops

from tfmtl.keras_host import keras
from tfmtl.layers.feature_embedding import FeatureEmbedding
from tfmtl.layers.stem_embedding import STEMEmbedding
from tfmtl.models.build import encoded_inputs
from tfmtl.schema import Categorical, Numeric, Sequence
from tfmtl.stages.bottoms import SharedBottomRepresentation, STEMRepresentation
from tfmtl.typing import SeparableStreams

FEATURES = (
    Categorical("city", vocabulary=("Oslo", "Rome"), dim=4),
    Categorical("item", num_ids=7, dim=4, table="items"),
    Numeric("age", transform=None),
    Numeric("size", size=2, mean=(0.0, 1.0), std=(1.0, 2.0), dim=3),
    Numeric("price", transform="buckets", boundaries=(1.0, 5.0), dim=2),
    Sequence(
        "seen", (Categorical("item", num_ids=7, dim=4, table="items"), Categorical("kind", num_ids=2, dim=2)), length=3
    ),
)
ROWS = {
    "city": np.array([0, 1, 2], "int32"),
    "item": np.array([2, 7, 0], "int32"),
    "age": np.array([31.0, np.nan, -2.0], "float32"),
    "size": np.array([[0.5, np.nan], [1.0, 2.0], [np.nan, np.nan]], "float32"),
    "price": np.array([0, 3, 1], "int32"),
    "seen_item": np.array([[2, 7, 0], [1, 1, 1], [0, 0, 0]], "int32"),
    "seen_kind": np.array([[1, 2, 0], [0, 0, 2], [0, 0, 0]], "int32"),
    "seen_mask": np.array([[1, 1, 0], [1, 1, 1], [0, 0, 0]], bool),
}
SHAPES = {"city": 4, "item": 4, "age": 2, "size": 3, "price": 2, "seen_item": 4, "seen_kind": 2}


def test_fields_follow_the_equations():
    layer = FeatureEmbedding(FEATURES)
    fields = {name: np.asarray(field) for name, field in layer(ROWS).items()}
    assert {name: field.shape for name, field in fields.items()} == {name: (3, width) for name, width in SHAPES.items()}
    assert layer.compute_output_shape({k: v.shape for k, v in ROWS.items()}) == {n: (3, w) for n, w in SHAPES.items()}
    np.testing.assert_array_equal(fields["age"], [[31, 0], [0, 1], [-2, 0]])
    kernel, bias = (np.asarray(w) for w in layer.projections["size"].get_weights())
    flagged = np.array([[0.5, 0, 0, 1], [1, 2, 0, 0], [0, 0, 1, 1]], "float32")
    np.testing.assert_allclose(fields["size"], flagged @ kernel + bias, rtol=1e-5)
    events = np.asarray(layer.tables(ROWS)["seen_item"])
    np.testing.assert_allclose(fields["seen_item"][0], events[0, :2].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(fields["seen_item"][2], 0)
    assert all(np.isfinite(field).all() for field in fields.values())


def test_one_flag_for_a_vector():
    layer = FeatureEmbedding([Numeric("size", size=2, transform=None, flag_missing="row")])
    expected = [[0.5, 0, 1], [1, 2, 0], [0, 0, 1]]
    np.testing.assert_array_equal(np.asarray(layer({"size": ROWS["size"]})["size"]), expected)
    assert layer.compute_output_shape({"size": (3, 2)}) == {"size": (3, 3)}


@pytest.mark.parametrize("dim", [None, 3])
def test_numbers_without_flags(dim):
    """A missing value is a 0, and nothing else is read."""
    features = [
        Numeric("age", transform=None, flag_missing=False, dim=dim),
        Numeric("size", size=2, transform=None, flag_missing=False, dim=dim),
    ]
    rows = {name: ROWS[name] for name in ("age", "size")}
    layer, stem = FeatureEmbedding(features), STEMEmbedding(features, ["buy", "shared"])
    wanted = {"age": np.array([[31], [0], [-2]], "float32"), "size": np.array([[0.5, 0], [1, 2], [0, 0]], "float32")}
    for embed, fields in ((layer, layer(rows)), (stem, stem(rows)["buy"])):
        for name, numbers in wanted.items():
            if dim:
                kernel, bias = (np.asarray(w)[..., :dim] for w in embed.projections[name].get_weights())
                numbers = numbers @ kernel + bias
            np.testing.assert_allclose(np.asarray(fields[name]), numbers, rtol=1e-5, atol=1e-6)
    shapes = {name: values.shape for name, values in rows.items()}
    assert layer.compute_output_shape(shapes) == {name: (3, dim or n) for name, n in (("age", 1), ("size", 2))}
    assert stem.compute_output_shape(shapes)["buy"] == layer.compute_output_shape(shapes)


ORDERS = {
    "one width": [FEATURES[1]],
    "numbers alone": [FEATURES[2], FEATURES[3]],
    "neighbours": [FEATURES[0], FEATURES[1], FEATURES[4], FEATURES[2]],
    "mixed": [FEATURES[1], FEATURES[4], FEATURES[2], FEATURES[0], FEATURES[3]],
    "with a history": list(FEATURES),
}


@pytest.mark.parametrize("features", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_training_joins_the_same_fields(features, policy):
    """The fields as they lie in the lookup, in the order of the features, with the same gradients."""
    layer = SharedBottomRepresentation(features, ["buy"], dtype=policy)
    rows = {column: ROWS[column] for column in encoded_inputs(features)}
    wanted = layer(rows)["buy"]
    joined = layer(rows, training=True)
    assert joined["buy"] is joined["shared"] and joined["buy"].dtype == wanted.dtype
    np.testing.assert_array_equal(
        np.asarray(ops.cast(joined["buy"], "float32")), np.asarray(ops.cast(wanted, "float32"))
    )
    assert tuple(joined["buy"].shape) == layer.compute_output_shape({k: v.shape for k, v in rows.items()})["buy"]
    if layer.trainable_variables:
        slope = ops.cast(np.random.default_rng(0).normal(size=wanted.shape), wanted.dtype)
        found, expected = (
            gradients(lambda t=training: ops.sum(layer(rows, training=t)["buy"] * slope), layer.trainable_variables)
            for training in (True, False)
        )
        for got, value in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-6)


def test_a_shared_table_is_one_table():
    layer = FeatureEmbedding(FEATURES)
    fields = layer(ROWS)
    one_event = {
        **ROWS,
        "seen_mask": np.array([[1, 0, 0]] * 3, bool),
        "seen_item": np.array([[2, 0, 0], [7, 0, 0], [0, 0, 0]], "int32"),
    }
    np.testing.assert_allclose(np.asarray(layer(one_event)["seen_item"]), np.asarray(fields["item"]), rtol=1e-6)


def test_unpooled_sequences_keep_their_events():
    layer = FeatureEmbedding(FEATURES, pool_sequences=False)
    assert np.asarray(layer(ROWS)["seen"]).shape == (3, 3, 6)
    assert layer.compute_output_shape({k: v.shape for k, v in ROWS.items()})["seen"] == (3, 3, 6)


def test_mixed_precision_keeps_ids_and_tables_exact():
    layer = FeatureEmbedding([Categorical("id", num_ids=100_000, dim=2)], dtype="mixed_bfloat16")
    found = layer({"id": np.array([65_537, 65_538], "int32")})["id"]
    assert "bfloat16" in str(found.dtype)
    table = np.asarray(layer.tables.tables["2"])
    assert table.dtype == np.float32
    np.testing.assert_allclose(np.asarray(ops.cast(found, "float32")), table[[65_537, 65_538]], rtol=1e-2)


@pytest.mark.parametrize("bottom", [SharedBottomRepresentation, STEMRepresentation])
def test_bottoms_reload_and_train(bottom, tmp_path):
    inputs = encoded_inputs(FEATURES)
    model = keras.Model(inputs, bottom(FEATURES, ["click", "buy"])(inputs))
    assert {name: tuple(y.shape) for name, y in model(ROWS).items()} == dict.fromkeys(
        ("click", "buy", "shared"), (3, 21)
    )
    assert_all_trained(model, lambda: sum(ops.sum(ops.tanh(y + 0.1)) for y in model(ROWS).values()))
    assert_reloads(model, ROWS, tmp_path)


def test_stem_is_one_table_a_stream():
    layer = STEMEmbedding(FEATURES[:1], ["click", "buy", "shared"])
    fields = layer(ROWS)
    table = np.asarray(layer.tables.tables["4"])
    assert table.shape == (3, 3 * 4)  # (T + 1) V D parameters
    assert 0 < table.std() < 5e-4
    for chunk, stream in enumerate(["click", "buy", "shared"]):
        np.testing.assert_array_equal(
            np.asarray(fields[stream]["city"]), table[ROWS["city"], 4 * chunk : 4 * chunk + 4]
        )


@pytest.mark.parametrize("streams", [("buy",), ("shared", "click")])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_some_of_a_stems_streams_hold_their_own_weights_only(streams, policy):
    layer = STEMEmbedding(FEATURES, ["click", "buy", "shared"], dtype=policy)
    layer(ROWS)
    for weight in layer.weights:
        weight.assign(np.random.default_rng(len(weight.shape)).normal(size=weight.shape))
    some, expected = layer.for_streams(streams), layer(ROWS)
    found = some(ROWS)
    assert tuple(found) == streams == some.streams
    for stream, fields in found.items():
        for name, field in fields.items():
            wanted = expected[stream][name]
            assert field.dtype == wanted.dtype
            np.testing.assert_array_equal(*(np.asarray(ops.cast(x, "float32")) for x in (field, wanted)))
    assert some.count_params() == layer.count_params() * len(streams) // 3


def test_a_bottom_with_a_table_a_task_gives_some_streams_alone():
    bottom = STEMRepresentation(FEATURES, ["click", "buy"])
    expected = bottom(ROWS)
    found = bottom.for_streams(["click"])(ROWS)
    assert list(found) == ["click"]
    np.testing.assert_array_equal(np.asarray(found["click"]), np.asarray(expected["click"]))
    assert isinstance(bottom, SeparableStreams)
    assert not isinstance(SharedBottomRepresentation(FEATURES, ["click"]), SeparableStreams)


def test_a_stems_stream_learns_in_its_own_columns_only():
    layer = STEMEmbedding(FEATURES[:1], ["click", "buy", "shared"])
    layer(ROWS)
    (gradient,) = gradients(lambda: ops.sum(layer(ROWS)["buy"]["city"]), layer.trainable_variables)
    assert np.abs(gradient[:, 4:8]).max() > 0
    np.testing.assert_array_equal(gradient[:, :4], 0)
    np.testing.assert_array_equal(gradient[:, 8:], 0)


@pytest.mark.parametrize("layer", [FeatureEmbedding, lambda features: STEMEmbedding(features, ["a"])])
def test_refuses(layer):
    with pytest.raises(ValueError, match="never adapted"):
        layer([Categorical("city", vocabulary="adapt")])
    with pytest.raises(ValueError, match="same name"):
        layer([FEATURES[0], FEATURES[0]])
    with pytest.raises(ValueError, match=r"lacks columns \['city'\]"):
        layer(FEATURES[:1])({"town": ROWS["city"]})
    for column in ("age", "seen_mask"):
        with pytest.raises(ValueError, match=rf"lacks columns \['{column}'\]"):
            layer(FEATURES)({name: rows for name, rows in ROWS.items() if name != column})


def test_stem_refuses_streams():
    with pytest.raises(ValueError, match="streams"):
        STEMEmbedding(FEATURES, [])
    with pytest.raises(ValueError, match="distinct names"):
        STEMEmbedding(FEATURES, ["a", "a"])


def test_columns_of_one_number_may_have_an_axis_for_it():
    """As `keras.Input((1,))` gives them."""
    features = [Categorical("city", num_ids=5, dim=4), Numeric("age", transform=None)]
    layer = FeatureEmbedding(features)
    flat = {"city": np.array([1, 3], "int32"), "age": np.array([1.0, np.nan], "float32")}
    wide = {name: column[:, None] for name, column in flat.items()}
    for name, field in layer(wide).items():
        np.testing.assert_array_equal(np.asarray(field), np.asarray(layer(flat)[name]))
        assert tuple(field.shape) == layer.compute_output_shape({n: c.shape for n, c in wide.items()})[name]


@pytest.mark.parametrize(
    ("feature", "column", "message"),
    [
        (Categorical("c", num_ids=5, dim=4), np.ones((2, 3), "int32"), r"'c' must be \(B,\) or \(B, 1\).*\(2, 3\)"),
        (Numeric("c", transform=None, size=2), np.ones((2, 3), "float32"), "'c' must hold 2 numbers a row"),
        (Numeric("c", transform=None, size=3), np.ones(2, "float32"), "'c' must hold 3 numbers a row"),
    ],
)
def test_refuses_columns_of_another_shape(feature, column, message):
    with pytest.raises(ValueError, match=message):
        FeatureEmbedding([feature])({"c": column})


def test_unpooled_events_may_be_more_than_the_schema_says():
    history = Sequence("h", (Categorical("i", num_ids=5, dim=4),), length=3)
    layer = FeatureEmbedding([history], pool_sequences=False)
    columns = {"h_i": np.ones((2, 7), "int32"), "h_mask": np.ones((2, 7), "int32")}
    shape = layer.compute_output_shape({name: column.shape for name, column in columns.items()})["h"]
    assert tuple(layer(columns)["h"].shape) == shape == (2, 7, 4)

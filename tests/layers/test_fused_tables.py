"""One gather for many tables, against one table each."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.keras_host import keras
from tfmtl.layers.fused_tables import FusedTables
from tfmtl.layers.join_streams import JoinStreams
from tfmtl.layers.pooling import pool_events
from tfmtl.schema import Categorical, Sequence

FEATURES = [
    Categorical("city", num_ids=5, dim=4),
    Categorical("item", num_ids=7, dim=4, table="items"),
    Categorical("brand", num_ids=3, dim=2),
    Sequence(
        "seen", (Categorical("item", num_ids=7, dim=4, table="items"), Categorical("kind", num_ids=2, dim=2)), length=3
    ),
]
IDS = {
    "city": np.array([0, 5], "int32"),
    "item": np.array([2, 7], "int32"),
    "brand": np.array([3, 1], "int32"),
    "seen_item": np.array([[2, 7, 0], [1, 1, 1]], "int32"),
    "seen_kind": np.array([[1, 2, 0], [0, 0, 2]], "int32"),
}


def test_reads_every_column_from_its_own_rows():
    layer = FusedTables(FEATURES)
    found = layer(IDS)
    wide, narrow = np.asarray(layer.tables["4"]), np.asarray(layer.tables["2"])
    assert wide.shape == (6 + 8, 4) and narrow.shape == (4 + 3, 2)
    np.testing.assert_array_equal(np.asarray(found["city"]), wide[IDS["city"]])
    np.testing.assert_array_equal(np.asarray(found["item"]), wide[6 + IDS["item"]])
    np.testing.assert_array_equal(np.asarray(found["seen_item"]), wide[6 + IDS["seen_item"]])
    np.testing.assert_array_equal(np.asarray(found["brand"]), narrow[IDS["brand"]])
    np.testing.assert_array_equal(np.asarray(found["seen_kind"]), narrow[4 + IDS["seen_kind"]])
    assert {k: tuple(v.shape) for k, v in found.items()} == layer.compute_output_shape(
        {k: v.shape for k, v in IDS.items()}
    )


def test_ids_out_of_range_read_row_0_of_their_own_table():
    layer = FusedTables(FEATURES)
    layer(IDS)
    broken = {**IDS, "item": np.array([-4, 999], "int32"), "brand": np.array([4, 2**31 - 1], "int32")}
    found = layer(broken)
    np.testing.assert_array_equal(np.asarray(found["item"]), np.asarray(layer.tables["4"])[[6, 6]])
    np.testing.assert_array_equal(np.asarray(found["brand"]), np.asarray(layer.tables["2"])[[0, 0]])


def test_ids_beyond_int32_are_nobody_elses():
    layer = FusedTables(FEATURES)
    layer(IDS)
    found = layer({**IDS, "item": np.array([2**32 + 1, 7], "int64")})
    np.testing.assert_array_equal(np.asarray(found["item"]), np.asarray(layer.tables["4"])[[6, 13]])


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_one_sparse_gradient_a_width(policy):
    layer = FusedTables(FEATURES, dtype=policy)
    layer(IDS)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(tf.cast(y, "float32")) for y in layer(IDS).values()])
        found = tape.gradient(
            loss, [getattr(w, "value", w) if not isinstance(w, tf.Variable) else w for w in layer.trainable_weights]
        )
        kinds.extend(type(g) for g in found)
        return [tf.convert_to_tensor(g) for g in found]

    kinds = []
    dense = gradients()
    assert kinds == [tf.IndexedSlices] * 2
    assert [g.dtype for g in dense] == [tf.float32] * 2
    np.testing.assert_array_equal(np.asarray(dense[0])[:6, 0], [1, 0, 0, 0, 0, 1])


def test_the_users_columns_are_looked_up_apart_outside_of_training():
    """One gather a width in training; otherwise one a width and side, and the same rows."""
    sides = {"city": "user", "item": "item", "brand": "item", "seen": "user"}
    layer = FusedTables([replace(feature, side=sides[feature.name]) for feature in FEATURES])
    found = layer(IDS)
    for column, rows in layer(IDS, training=True).items():
        np.testing.assert_array_equal(np.asarray(rows), np.asarray(found[column]))
    gathered = {}
    for training in (True, False):
        function = tf.function(lambda training=training: list(layer(IDS, training=training).values()))
        lookups = [op for op in function.get_concrete_function().graph.get_operations() if op.type == "ResourceGather"]
        gathered[training] = sorted((op.outputs[0].shape[1], op.outputs[0].shape[2]) for op in lookups)
    assert gathered == {True: [(1 + 3, 2), (1 + 1 + 3, 4)], False: [(1, 2), (1, 4), (3, 2), (1 + 3, 4)]}


def test_copies_lie_side_by_side():
    layer = FusedTables(FEATURES[:1], copies=3)
    assert np.asarray(layer({"city": IDS["city"]})["city"]).shape == (2, 12)


def test_reloads_inside_a_model(tmp_path):
    inputs = {name: keras.Input(ids.shape[1:], dtype="int32", name=name) for name, ids in IDS.items()}
    model = keras.Model(inputs, FusedTables(FEATURES, name="tables")(inputs))
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    for name, expected in model(IDS).items():
        np.testing.assert_array_equal(np.asarray(reloaded(IDS)[name]), np.asarray(expected))


def test_refuses():
    with pytest.raises(ValueError, match="copies=0"):
        FusedTables(FEATURES, copies=0)
    with pytest.raises(ValueError, match=r"lacks columns \['item'"):
        FusedTables(FEATURES)({"city": IDS["city"]})
    with pytest.raises(ValueError, match="never adapted"):
        FusedTables([Categorical("city", vocabulary="adapt")])
    with pytest.raises(ValueError, match="share table"):
        FusedTables([Categorical("a", num_ids=3, table="t"), Categorical("b", num_ids=4, table="t")])


@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
def test_pooling_reads_events_only(pooling):
    rng = np.random.default_rng(0)
    events = rng.normal(size=(3, 4, 2)).astype("float32")
    mask = np.array([[1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0]], bool)
    pooled = np.asarray(pool_events(events, mask, pooling))
    reduce = {"mean": np.mean, "sum": np.sum, "max": np.max}[pooling]
    for i in range(2):
        np.testing.assert_allclose(pooled[i], reduce(events[i][mask[i]], axis=0), rtol=1e-6)
    np.testing.assert_array_equal(pooled[2], 0)
    padded = np.concatenate([events, np.full((3, 2, 2), 7, "float32")], axis=1)
    longer = np.asarray(pool_events(padded, np.pad(mask, ((0, 0), (0, 2))), pooling))
    np.testing.assert_allclose(longer, pooled, rtol=1e-6)


def test_join_streams_sets_side_by_side():
    trunk = {"a": np.ones((2, 3), "float32"), "shared": np.ones((2, 3), "float32")}
    bottom = {"a": np.full((2, 2), 2, "float32"), "shared": np.full((2, 1), 3, "float32")}
    both = JoinStreams(own=True, shared=True)([trunk, bottom])
    assert set(both) == {"a"}
    np.testing.assert_array_equal(np.asarray(both["a"]), [[1, 1, 1, 2, 2, 3]] * 2)
    np.testing.assert_array_equal(
        np.asarray(JoinStreams(own=False, shared=True)([trunk, bottom])["a"]), [[1, 1, 1, 3]] * 2
    )
    with pytest.raises(ValueError, match="own=False"):
        JoinStreams(own=False, shared=False)
    with pytest.raises(ValueError, match=r"lack \['a'\]"):
        JoinStreams(own=True, shared=False)([trunk, {"shared": bottom["shared"]}])

"""Histories whose events have weights: read, encoded, pooled, served, and left out of a request."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

import tfmtl
from tfmtl.data import Preprocessor
from tfmtl.layers import FeatureEmbedding
from tfmtl.layers.pooling import pool_events
from tfmtl.models import shared_bottom
from tfmtl.schema import Categorical, Schema, Sequence, Task

TAG = Categorical("tag", num_ids=6, dim=4, table="tags")
NAN = float("nan")
TASKS = [Task("click", mean=0.5)]
LOG = {
    "user_tag": [[0, 1, 2, 3], [4, -1, 5], [], [2]],
    "score": [[0.5, 2.0, NAN, 0.25], [1.5, 9.0, -1.0], [], [0.0]],
    "click": [0.0, 1.0, 1.0, 0.0],
}
IDS = [[2, 3, 4], [5, 6, 0], [0, 0, 0], [3, 0, 0]]
WEIGHTS = [[2.0, 1.0, 0.25], [1.5, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def schema_of(**options):
    history = Sequence("user", [TAG], length=3, side="user", weights="score", **options)
    return Schema([Categorical("item", num_ids=6, dim=4, table="tags", side="item"), history], TASKS)


SCHEMA = schema_of()
ROWS = {**LOG, "item": [0, 1, 2, 3]}


def encoded(x):
    return {name: np.asarray(column) for name, column in Preprocessor(SCHEMA.features)(x).items()}


def write_records(path):
    """The log as `tf.Example`s, which have no nulls in lists: a missing weight is NaN."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in range(4):
            lists = {name: ROWS[name][row] for name in ("user_tag", "item")}
            ids = {name: tf.train.Int64List(value=np.atleast_1d(value).astype(int)) for name, value in lists.items()}
            feature = {name: tf.train.Feature(int64_list=value) for name, value in ids.items()}
            for name in ("score", "click"):
                numbers = tf.train.FloatList(value=np.atleast_1d(ROWS[name][row]))
                feature[name] = tf.train.Feature(float_list=numbers)
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


@pytest.mark.parametrize("kind", ["dict", "parquet", "records", "ragged"])
def test_weights_go_with_their_events(kind, tmp_path):
    """The last events are kept, a position without an id goes with its weight, and a missing weight is 1."""
    if kind == "ragged":
        x = {"user_tag": tf.ragged.constant(LOG["user_tag"], dtype=tf.int64), "item": np.arange(4)}
        x = encoded({**x, "score": tf.ragged.constant(LOG["score"], dtype=tf.float32)})
    else:
        source = {"dict": ROWS, "parquet": tmp_path / "rows.parquet", "records": tmp_path / "rows.tfrecord"}[kind]
        if kind == "parquet":
            pq.write_table(pa.table(ROWS), source)
        elif kind == "records":
            write_records(source)
        (x, _), *_ = tfmtl.read(source, SCHEMA, batch_size=4, encode=True)
    np.testing.assert_array_equal(x["user_tag"], IDS)
    np.testing.assert_array_equal(x["score"], WEIGHTS)
    np.testing.assert_array_equal(x["user_mask"], np.arange(3) < np.array([[3], [2], [0], [1]]))


def test_a_request_without_weights_weighs_all_alike():
    x = encoded({"user_tag": np.array([[0, 1, -1]]), "item": np.array([2]), "score": np.zeros((1, 0), "float32")})
    np.testing.assert_array_equal(x["score"], [[1, 1, 0]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be equally long"):
        encoded({"user_tag": np.array([[0, 1, -1]]), "item": np.array([2]), "score": np.zeros((1, 2), "float32")})


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_pooling_counts_each_event_as_its_weight_says(pooling):
    rng = np.random.default_rng(0)
    events = rng.normal(size=(4, 3, 5)).astype("float32")
    mask, weights = np.array(IDS) > 0, np.array(WEIGHTS, "float32")
    total = (weights[..., None] * events).sum(1)
    whole = weights.sum(1, keepdims=True)
    expected = total if pooling == "sum" else np.divide(total, whole, out=np.zeros_like(total), where=whole != 0)
    np.testing.assert_allclose(np.asarray(pool_events(events, mask, pooling, weights)), expected, rtol=1e-5, atol=1e-6)
    alike = np.asarray(pool_events(events, mask, pooling, np.ones_like(weights)))
    np.testing.assert_allclose(alike, np.asarray(pool_events(events, mask, pooling)), rtol=1e-5, atol=1e-6)


def test_an_attention_counts_scores_and_weights():
    schema = schema_of(pooling="attention", target="item")
    layer = FeatureEmbedding(schema.features)
    (x, _), *_ = tfmtl.read(ROWS, schema, batch_size=4, encode=True)
    fields, found = layer(x), layer.tables(x)
    (unit,) = layer.units(schema.feature("user"))
    scores = np.asarray(unit([found["user_tag"], x["user_mask"], found["item"]])) * np.array(WEIGHTS)
    expected = (scores[..., None] * np.asarray(found["user_tag"])).sum(1)
    np.testing.assert_allclose(np.asarray(fields["user_tag"]), expected, rtol=1e-5, atol=1e-7)


def test_an_export_takes_weights_and_does_without(tmp_path):
    """`export` compares every signature with the model, `rank` with full rows, and awkward weights too."""
    model = shared_bottom(SCHEMA, units=(4,), tower_units=())
    path = tfmtl.export(model, tmp_path, SCHEMA, examples=ROWS)
    served = tf.saved_model.load(str(path)).signatures
    assert served["rank"].structured_input_signature[1]["score"].shape.as_list() == [1, None]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"pooling": "max"}, r"`weights` of 'user' go with lists.*pooling='max'"),
        ({"separator": "|"}, r"`weights` of 'user' go with lists.*separator='\|'"),
    ],
)
def test_refuses(options, match):
    with pytest.raises(ValueError, match=match):
        schema_of(**options)
    with pytest.raises(ValueError, match=r"read one by one have no `weights`. Received: weights of \['user'\]"):
        FeatureEmbedding(SCHEMA.features, pool_sequences=False)
    with pytest.raises(ValueError, match="column"):
        Schema([*SCHEMA.features, Sequence("other", [TAG], length=2, weights="score")], TASKS)
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA

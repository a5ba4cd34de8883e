"""Histories whose events have weights: read, encoded, pooled, served, and left out of a request.

Weights stand in lists, in texts of their own (`0.5|2`), or beside the ids (`0:0.5|1:2`).
"""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from test_reading import write_tfrecord

import tfmtl
from tfmtl.data import Preprocessor
from tfmtl.layers import FeatureEmbedding
from tfmtl.models import dtrn, shared_bottom
from tfmtl.schema import Categorical, Schema, Sequence, Task

TAG = Categorical("tag", num_ids=6, dim=4, table="tags")
NAN = float("nan")
TASKS = [Task("click", mean=0.5)]
LOG = {
    "user_tag": [[0, 1, 2, 3], [4, -1, 5], [], [2], [1, 3]],
    "score": [[0.5, 2.0, NAN, 0.25], [1.5, 9.0, -1.0], [], [0.0], []],
    "click": [0.0, 1.0, 1.0, 0.0, 1.0],
    "item": [0, 1, 2, 3, 4],
}
FORMS = {
    "lists": ({"weights": "score"}, {}),
    "texts": (
        {"weights": "score", "separator": "|"},
        {
            "user_tag": ["0|1|2|3", "4||5", "", "2", "1|3"],
            "score": ["0.5| 2.||nan", "1.5|9|-1e0", "", "0", ""],
        },
    ),
    "pairs": (
        {"weight_separator": ":", "separator": "|"},
        {"user_tag": ["0:.5|1:2|2|3:", "4:1.5|:9|5:-1", "", "2:+0.0", "1|3"]},
    ),
}
IDS = [[2, 3, 4], [5, 6, 0], [0, 0, 0], [3, 0, 0], [2, 4, 0]]
WEIGHTS = [[2.0, 1.0, 1.0], [1.5, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
LOG["score"][0][3] = NAN


def schema_of(form="lists", **options):
    history = Sequence("user", [TAG], length=3, side="user", **FORMS[form][0], **options)
    return Schema([Categorical("item", num_ids=6, dim=4, table="tags", side="item"), history], TASKS)


def rows_of(form):
    rows = LOG | FORMS[form][1]
    return rows if form != "pairs" else {name: column for name, column in rows.items() if name != "score"}


SCHEMA = schema_of()


def encoded(x, schema=SCHEMA):
    return {name: np.asarray(column) for name, column in Preprocessor(schema.features)(x).items()}


def raw(form):
    """The rows as a request holds them."""
    rows = {name: column for name, column in rows_of(form).items() if name != "click"}
    kinds = {"user_tag": tf.int64, "score": tf.float32}
    return rows if form != "lists" else rows | {n: tf.ragged.constant(rows[n], kind) for n, kind in kinds.items()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["dict", "request", "parquet", "csv", "records"])
def test_weights_go_with_their_events(form, kind, tmp_path):
    """The last events are kept, a position without an id goes with its weight, and a missing weight is 1."""
    schema, table = schema_of(form), pa.table(rows_of(form))
    if kind == "request":
        x = encoded(raw(form), schema)
    elif kind == "csv" and form == "lists":
        return  # a CSV file holds no lists
    else:
        source = rows_of(form) if kind == "dict" else tmp_path / f"rows.{kind.replace('records', 'tfrecord')}"
        if kind != "dict":
            {"parquet": pq.write_table, "csv": pyarrow.csv.write_csv, "records": write_tfrecord}[kind](table, source)
        (x, _), *_ = tfmtl.read(source, schema, batch_size=5, encode=True)
    np.testing.assert_array_equal(x["user_tag"], IDS)
    np.testing.assert_array_equal(x["user_weights" if form == "pairs" else "score"], WEIGHTS)
    np.testing.assert_array_equal(x["user_mask"], np.arange(3) < np.array([[3], [2], [0], [1], [2]]))
    assert Schema.from_json(schema.to_json()) == schema


def test_whole_weights_of_records_make_no_event(tmp_path):
    """A file may hold them as integers."""
    rows = LOG | {"score": [[5, 2, 1, 3], [1, 9, 4], [], [0], []]}
    (x, _), *_ = tfmtl.read(
        write_tfrecord(pa.table(rows), tmp_path / "rows.tfrecord"), SCHEMA, batch_size=5, encode=True
    )
    np.testing.assert_array_equal(x["user_tag"], IDS)
    np.testing.assert_array_equal(x["score"], [[2, 1, 3], [1, 4, 0], [0, 0, 0], [0, 0, 0], [1, 1, 0]])


def test_ids_may_hold_what_stands_before_a_weight():
    """The last separator counts; what is no number behind it is a missing weight, and ids are any bytes."""
    known = ("a:b", "http", "c")
    field = Categorical("tag", vocabulary=known, dim=4)
    features = [Sequence("film", [field], prefix="", length=5, separator=" | ", weight_separator=":")]
    texts = [b"a:b:2 | http://x | \xff\x00:3 | c", b":4 | c:1e999 | c:inf"]
    x = {name: column.numpy().tolist() for name, column in Preprocessor(features)({"tag": tf.constant(texts)}).items()}
    assert x["tag"] == [[1, 2, 0, 3, 0], [3, 3, 0, 0, 0]]
    assert x["film_weights"] == [[2, 1, 3, 1, 0], [1, 1, 0, 0, 0]]
    schema = Schema([Sequence("film", [Categorical("tag", vocabulary="adapt")], **_pairs())], TASKS)
    rows = {"tag": ["a:b:2|c", "c:1|a:b:1|c"], "click": [0, 1]}
    adapted = tfmtl.adapt(schema, tfmtl.read(rows, schema, batch_size=2))
    assert adapted.feature("film").fields[0].vocabulary == ("c", "a:b")


def _pairs():
    return {"prefix": "", "length": 3, "separator": "|", "weight_separator": ":"}


def test_a_request_without_weights_weighs_all_alike():
    x = encoded({"user_tag": np.array([[0, 1, -1]]), "item": np.array([2]), "score": np.zeros((1, 0), "float32")})
    np.testing.assert_array_equal(x["score"], [[1, 1, 0]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be equally long"):
        encoded({"user_tag": np.array([[0, 1, -1]]), "item": np.array([2]), "score": np.zeros((1, 2), "float32")})
    texts = {"user_tag": ["0|1", "0|1|2"], "item": [1, 1], "score": ["", "1|1"]}
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be equally long"):
        encoded(texts, schema_of("texts"))
    x = encoded(texts | {"score": ["", "one|0.5|2"]}, schema_of("texts"))
    np.testing.assert_array_equal(x["score"], [[1, 1, 0], [1, 0.5, 2]])


@pytest.mark.parametrize("kind", ["dict", "records"])
@pytest.mark.parametrize(
    ("form", "given", "message"),
    [
        ("lists", {"score": [[0.5]] * 5}, r"row 0.*score.*must hold (4|equally many) items"),
        ("texts", {"score": ["1|1|1|1", "0.5|2", "", "0", ""]}, r"row 1.*score.*must hold (3|equally many) items"),
        (
            "texts",
            {"score": ["1|1|1|1", "1|1|1", "", "high", ""]},
            r"row 3: .*score'? must hold numbers with '?\|.*high",
        ),
        (
            "texts",
            {"user_tag": ["0|1|2|3", "4|x|5", "", "2", "1|3"]},
            r"row 1: .*user_tag'? must hold integers.*4\|x\|5",
        ),
        ("pairs", {"user_tag": ["0:1", "1:0.5|2:low", "", "", ""]}, r"row 1: .*user_tag'? must hold integers, .*2:low"),
    ],
)
def test_what_is_no_weight_is_named(form, given, message, kind, tmp_path):
    rows = rows_of(form) | given
    source = rows if kind == "dict" else write_tfrecord(pa.table(rows), tmp_path / "rows.tfrecord")
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(tfmtl.read(source, schema_of(form), batch_size=5))


def test_what_cannot_be_read_may_be_left_out():
    """A text with something that is no weight counts as none, and one with something that is no id takes its weights along."""
    rows = rows_of("texts") | {
        "user_tag": ["0|1|2|3", "4|x|5", "", "2", "1|3"],
        "score": ["1|2|3|4", "1|2|3", "", "9z", ""],
    }
    with pytest.warns(UserWarning, match=r"^2 values or rows .*row 1: column 'user_tag'"):
        ((x, _),) = tfmtl.read(rows, schema_of("texts"), batch_size=5, encode=True, on_error="skip")
    np.testing.assert_array_equal(x["user_tag"], [[2, 3, 4], [0, 0, 0], [0, 0, 0], [3, 0, 0], [2, 4, 0]])
    np.testing.assert_array_equal(x["score"], [[2, 3, 4], [0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0]])


@pytest.mark.parametrize(
    ("score", "hint"), [([0.5] * 5, "cast them to text"), ([[0.5]] * 5, "lists need no `separator`")]
)
def test_numbers_where_texts_are_due_are_told_apart(score, hint):
    with pytest.raises(ValueError, match=rf"'score' must hold texts of numbers with '\|' between them.*\({hint}\)"):
        tfmtl.read(rows_of("texts") | {"score": score}, schema_of("texts"), batch_size=5)
    with pytest.raises(ValueError, match="'score' must hold lists of numbers"):
        tfmtl.read(LOG | {"score": ["1"] * 5}, SCHEMA, batch_size=5)


def test_an_attention_counts_scores_and_weights():
    schema = schema_of(pooling="attention", target="item")
    layer = FeatureEmbedding(schema.features)
    (x, _), *_ = tfmtl.read(LOG, schema, batch_size=5, encode=True)
    fields, found = layer(x), layer.tables(x)
    (unit,) = layer.units(schema.feature("user"))
    scores = np.asarray(unit([found["user_tag"], x["user_mask"], found["item"]])) * np.array(WEIGHTS)
    expected = (scores[..., None] * np.asarray(found["user_tag"])).sum(1)
    np.testing.assert_allclose(np.asarray(fields["user_tag"]), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("form", "preset"),
    [
        ("lists", shared_bottom),
        ("texts", shared_bottom),
        ("pairs", shared_bottom),
        pytest.param("texts", dtrn, marks=pytest.mark.slow),
    ],
)
def test_an_export_takes_weights_and_does_without(form, preset, tmp_path):
    """`export` compares every signature with the model, `rank` with full rows, and awkward weights too."""
    options = {"pooling": "max"} if form == "pairs" else {}
    schema = schema_of(form, **options)
    own = {"target": "item", "tower_units": ()} if preset is dtrn else {"units": (4,), "tower_units": ()}
    model = preset(schema, **own)
    path = tfmtl.export(model, tmp_path, schema, examples=raw(form))
    served = tf.saved_model.load(str(path)).signatures
    rank = served["rank"].structured_input_signature[1]
    if form == "lists":
        assert rank["score"].shape.as_list() == [1, None]
        return
    ones = {"user_tag": ["0:3|2:1"]} if form == "pairs" else {"user_tag": ["0|2"], "score": ["3|1"]}
    assert {name: spec.shape.as_list() for name, spec in rank.items()} == {
        "item": [None],
        **{name: [1] for name in ones},
    }
    found = served["rank"](item=tf.constant([1, 3], tf.int64), **{n: tf.constant(text) for n, text in ones.items()})
    rows = {name: text * 2 for name, text in ones.items()} | {"item": [1, 3]}
    np.testing.assert_allclose(found["click"], model(Preprocessor(schema.features)(rows))["click"], atol=1e-6)
    if form == "texts":  # a served model takes what lacks for missing weights, and no more than there are ids
        for score in ("3", "3|1|9", "3|one"):
            again = served["rank"](item=tf.constant([1, 3], tf.int64), user_tag=["0|2"], score=[score])
            np.testing.assert_array_equal(again["click"], found["click"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_separator": ":"}, r"goes with a `separator`.*separator=None"),
        ({"weight_separator": ":", "separator": "::"}, "neither may hold the other"),
        ({"weight_separator": "", "separator": "|"}, "`weight_separator` of 'user' must be a text"),
        ({"weight_separator": ":", "separator": "|", "weights": "score"}, "without a column of weights"),
        ({"weight_separator": ":", "separator": "|", "fields": [TAG, Categorical("x", num_ids=2)]}, "2 fields"),
        (
            {"weight_separator": ":", "separator": "|", "fields": [Categorical("weights", num_ids=2)]},
            "those are its weights",
        ),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        Sequence("user", **{"fields": [TAG], "length": 3, **options})


def test_columns_of_weights_are_distinct():
    with pytest.raises(ValueError, match="column"):
        Schema([*SCHEMA.features, Sequence("other", [TAG], length=2, weights="score")], TASKS)
    with pytest.raises(ValueError, match="'user_weights'"):
        Schema([*schema_of("pairs").features, Categorical("user_weights", num_ids=2)], TASKS)

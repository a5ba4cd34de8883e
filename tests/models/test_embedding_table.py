"""Tables by name and id: pretrained vectors in, learned ones out, frozen ones left alone."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tfmtl
from tfmtl.data import Preprocessor
from tfmtl.keras_host import keras
from tfmtl.models import embedding_table, shared_bottom, stem_net, warm_start
from tfmtl.optimizers import LazyAdam, RowWiseAdagrad, optimizer
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

ITEM = Categorical("item", vocabulary=("a", "b", "c"), dim=4, table="items")
SCHEMA = Schema(
    [
        Categorical("user", num_ids=9, dim=4),
        ITEM,
        Categorical("query", hash_buckets=7, dim=4),
        Numeric("age", transform="buckets", boundaries=(20.0, 40.0), dim=4),
        Sequence("seen", [replace(ITEM, name="item")], length=2),
    ],
    [Task("click", mean=0.5), Task("buy", mean=0.5)],
)
RAW = {
    "user": np.array([0, 8, 3, 4]),
    "item": np.array(["a", "b", "c", "?"]),
    "query": np.array(["x", "y", "z", ""]),
    "age": np.array([10.0, 20.0, 50.0, np.nan], "float32"),
    "seen_item": np.array([["a", ""], ["c", "b"], ["", ""], ["b", "b"]]),
}
LABELS = {task: np.array([0, 1, 1, 0], "float32") for task in SCHEMA.task_names}


def small(schema=SCHEMA):
    return shared_bottom(schema, units=(4,), tower_units=(4,))


def read_by_model(model, schema, column):
    """What the model looks up for the rows, column by column."""
    encoded = Preprocessor(schema.features)(RAW)
    return np.asarray(model.get_layer("bottom").embed.tables(encoded)[column])


@pytest.mark.parametrize("column", ["user", "item", "query"])
def test_a_row_is_what_the_model_looks_up(column):
    model = small()
    table = embedding_table(model, SCHEMA, column)
    np.testing.assert_array_equal(table.get(RAW[column]), read_by_model(model, SCHEMA, column))


def test_bins_are_found_by_their_numbers():
    model = small()
    table = embedding_table(model, SCHEMA, "age")
    encoded = Preprocessor(SCHEMA.features)(RAW)["age"]
    np.testing.assert_array_equal(table.rows_of(RAW["age"]), np.asarray(encoded))
    assert table.ids[1] == (20.0, 40.0)


def test_vectors_of_several_tables_in_one_weight_stay_apart():
    model = small()
    tables = {name: embedding_table(model, SCHEMA, name) for name in ("user", "items", "query", "age")}
    before = {name: table.vectors() for name, table in tables.items()}
    loaded = tables["items"].load({"b": [1, 2, 3, 4], "new": [0, 0, 0, 0], b"c": np.ones(4)})
    assert loaded == (2, ("a",), ("new",))
    assert tables["items"].get(["b", "c"]).tolist() == [[1, 2, 3, 4], [1, 1, 1, 1]]
    np.testing.assert_array_equal(tables["items"].vectors()[:2], before["items"][:2])
    for name in ("user", "query", "age"):
        np.testing.assert_array_equal(tables[name].vectors(), before[name])
    assert embedding_table(model, SCHEMA, "seen_item").get(["b"]).tolist() == [[1, 2, 3, 4]]  # the same table
    np.testing.assert_array_equal(read_by_model(model, SCHEMA, "item")[1], [1, 2, 3, 4])


def test_a_whole_matrix_with_and_without_the_row_of_unknown_ids():
    table = embedding_table(small(), SCHEMA, "item")
    matrix = np.arange(16, dtype="float32").reshape(4, 4)
    table.load(matrix)
    np.testing.assert_array_equal(table.vectors(), matrix)
    table.load(matrix[:3])
    np.testing.assert_array_equal(table.vectors(), [matrix[0], *matrix[:3]])
    table.set(["c"], [[9, 9, 9, 9]])
    np.testing.assert_array_equal(table.get(["c", "nobody"]), [[9] * 4, matrix[0]])


@pytest.mark.parametrize("ending", [".parquet", ".npz", ".vec", ".tsv"])
@pytest.mark.parametrize("column", ["item", "user"])
def test_files_bring_back_what_was_saved(ending, column, tmp_path):
    table, other = embedding_table(small(), SCHEMA, column), embedding_table(small(), SCHEMA, column)
    table.save(tmp_path / f"vectors{ending}")
    assert other.load(tmp_path / f"vectors{ending}") == (len(table.ids), (), ())
    np.testing.assert_array_equal(other.vectors()[1:], table.vectors()[1:])


def test_files_of_other_programs(tmp_path):
    table = embedding_table(small(), SCHEMA, "item")
    (tmp_path / "word2vec.txt").write_text("2 4\nb 1 2 3 4\nnobody 0 0 0 0\n", encoding="utf-8")
    assert table.load(tmp_path / "word2vec.txt") == (1, ("a", "c"), ("nobody",))
    pq.write_table(pa.table({"id": ["a"], "vector": [[5.0, 6, 7, 8]]}), tmp_path / "lists.parquet")
    assert table.load(str(tmp_path / "lists.parquet")).rows == 1
    np.testing.assert_array_equal(table.get(["a", "b"]), [[5, 6, 7, 8], [1, 2, 3, 4]])


def test_the_projector_finds_a_label_for_every_vector(tmp_path):
    table = embedding_table(small(), SCHEMA, "item")
    table.to_projector(tmp_path)
    rows = np.loadtxt(tmp_path / "items_vectors.tsv", delimiter="\t", dtype="float32")
    np.testing.assert_array_equal(rows, table.vectors())
    assert (tmp_path / "items_labels.tsv").read_text().splitlines() == ["(unknown)", "a", "b", "c"]
    assert 'tensor_path: "items_vectors.tsv"' in (tmp_path / "projector_config.pbtxt").read_text()


def test_each_stream_of_stem_has_vectors_of_its_own():
    model = stem_net(SCHEMA, units=(4,), tower_units=(4,))
    buy, shared = (embedding_table(model, SCHEMA, "item", stream=stream) for stream in ("buy", "shared"))
    before = shared.vectors()
    buy.load({"a": np.ones(4)})
    np.testing.assert_array_equal(shared.vectors(), before)
    encoded = Preprocessor(SCHEMA.features)(RAW)
    found = model.get_layer("bottom").embed(encoded)
    np.testing.assert_array_equal(np.asarray(found["buy"]["item"])[0], np.ones(4))
    with pytest.raises(
        ValueError, match=r"`stream` must be one of \['click', 'buy', 'shared'\].*Received: stream=None"
    ):
        embedding_table(model, SCHEMA, "item")


@pytest.mark.parametrize("kind", ["lazy", "adam", "split"])
def test_a_frozen_table_stays_as_it_was_loaded(kind, tmp_path):
    frozen = replace(ITEM, trainable=False)
    features = [
        {"item": frozen, "seen": replace(SCHEMA.features[-1], fields=[frozen])}.get(f.name, f) for f in SCHEMA.features
    ]
    schema = Schema(features, SCHEMA.tasks)
    assert Schema.from_json(schema.to_json()) == schema
    model = small(schema)
    item, user = embedding_table(model, schema, "item"), embedding_table(model, schema, "user")
    item.load(np.arange(16, dtype="float32").reshape(4, 4))
    loaded, before = item.vectors(), user.vectors()
    made = {
        "lazy": lambda: LazyAdam(0.1, weight_decay=0.1),
        "adam": lambda: keras.optimizers.Adam(0.1),
        "split": lambda: optimizer(embeddings=RowWiseAdagrad(0.1), dense="adam"),
    }
    model.compile(made[kind](), **tfmtl.objectives(schema.tasks), run_eagerly=True)
    encoded = Preprocessor(schema.features)(RAW)
    model.fit(encoded, LABELS, epochs=2, verbose=0)
    np.testing.assert_array_equal(item.vectors(), loaded)
    assert np.abs(user.vectors() - before).max() > 0.01
    assert not item.trainable and user.trainable
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(embedding_table(again, schema, "item").vectors(), loaded)
    np.testing.assert_allclose(again(encoded)["buy"], model(encoded)["buy"], rtol=1e-6)
    again.fit(encoded, LABELS, verbose=0)
    np.testing.assert_array_equal(embedding_table(again, schema, "item").vectors(), loaded)


def test_a_trained_table_is_frozen_by_a_new_schema():
    model = small()
    frozen = replace(ITEM, trainable=False)
    features = [
        {"item": frozen, "seen": replace(SCHEMA.features[-1], fields=[frozen])}.get(f.name, f) for f in SCHEMA.features
    ]
    schema = Schema(features, SCHEMA.tasks)
    other = small(schema)
    report = warm_start(other, schema, model, SCHEMA)
    assert not report.fresh and not report.partly
    encoded = Preprocessor(schema.features)(RAW)
    np.testing.assert_allclose(other(encoded)["buy"], model(encoded)["buy"], rtol=1e-5)
    assert len(other.trainable_weights) == len(model.trainable_weights)
    assert len(other.non_trainable_weights) == len(model.non_trainable_weights) + 1


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({"a": [1, 2]}, r"must be \(1, 4\)"),
        ({"a": [1, 2, 3, 4], "b": [1]}, "must have one width"),
        ({"a": [1, 2, 3, np.nan]}, "must be finite"),
        ({"x": [1, 2, 3, 4]}, "None of these ids"),
        ({}, "must be {id: vector}"),
        (np.zeros((5, 4)), "needs 3 rows, one an id, or 4"),
        ("vectors.csv", "come from"),
        ("s3://bucket/vectors.npz", "not a URL"),
    ],
)
def test_refuses_what_does_not_fit_and_changes_nothing(vectors, message):
    table = embedding_table(small(), SCHEMA, "item")
    before = table.vectors()
    with pytest.raises(ValueError, match=message):
        table.load(vectors)
    with pytest.raises(ValueError, match="no row for 1 of 2 ids"):
        table.set(["a", "x"], np.ones((2, 4)))
    np.testing.assert_array_equal(table.vectors(), before)


def test_refuses_tables_that_are_not_there_and_schemas_of_others():
    model = small()
    with pytest.raises(ValueError, match=r"of one table.*Received: name='nobody'"):
        embedding_table(model, SCHEMA, "nobody")
    with pytest.raises(ValueError, match="not that of `model`"):
        embedding_table(model, Schema([replace(ITEM, vocabulary=("a",))], SCHEMA.tasks), "item")
    with pytest.raises(ValueError, match="one vector an id"):
        embedding_table(model, SCHEMA, "item", stream="click")
    with pytest.raises(ValueError, match="agree on ids, width and `trainable`"):
        Schema([*SCHEMA.features[:1], replace(ITEM, trainable=False), SCHEMA.features[-1]], SCHEMA.tasks)

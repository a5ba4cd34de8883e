"""Features that name a file of vectors: what the model starts with, keeps, saves and serves, and which files are refused."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import assert_reloads

import tfmtl
from tfmtl.keras_host import keras
from tfmtl.models import embedding_table, shared_bottom, stem_net
from tfmtl.models.table_files import write_vectors
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

IDS = ("a", "b", "c")
VECTORS = np.arange(8, dtype="float32").reshape(2, 4) + 1  # of "c" and "a"; "b" has none, "z" no row
TASKS = [Task("click", mean=0.5), Task("buy", mean=0.5)]
IMAGES = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [0.0, 1.0, 2.0], None]
RAW = {
    "item": np.array(["a", "b", "c", "?"]),
    "seen_item": np.array([["a", ""], ["c", "b"], ["", ""], ["b", "b"]]),
    "image": np.array([[np.nan] * 3 if image is None else image for image in IMAGES], "float32"),
}
LABELS = {task.name: np.array([0, 1, 1, 0], "float32") for task in TASKS}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "vectors.parquet"
    write_vectors(path, ["c", "a", "z"], np.concatenate([VECTORS, [[9, 9, 9, 9]]]).astype("float32"))
    return path


def schema_of(file, **options):
    item = Categorical("item", vocabulary=IDS, dim=4, table="items", embedding=file, **options)
    image = Numeric("image", size=3, dim=2, flag_missing="row")
    return tfmtl.adapt(Schema([item, Sequence("seen", [item], length=2), image], TASKS), [RAW])


def small(schema, preset=shared_bottom):
    return preset(schema, units=(4,), tower_units=(4,))


def test_a_frozen_table_holds_the_vectors_and_zeros(file, tmp_path):
    schema = schema_of(file, trainable=False)
    with pytest.warns(UserWarning, match=r"1 of 3 ids of table 'items' have no vector in .*\['b'\] ... They are 0"):
        model = small(schema)
    wanted = np.array([[0] * 4, VECTORS[1], [0] * 4, VECTORS[0]], "float32")
    table = embedding_table(model, schema, "item")
    np.testing.assert_array_equal(table.vectors(), wanted)
    assert embedding_table(model, schema, "seen_item").get(["c"]).tolist() == [VECTORS[0].tolist()]
    x = {name: np.asarray(column) for name, column in tfmtl.Preprocessor(schema.features)(RAW).items()}
    model.compile(keras.optimizers.SGD(1.0), loss=tfmtl.objectives(schema.tasks)["loss"], run_eagerly=True)
    model.fit(x, LABELS, verbose=0)
    np.testing.assert_array_equal(table.vectors(), wanted)
    file.unlink()  # which no file of the model and no export asks for
    assert_reloads(model, x, tmp_path)
    tfmtl.export(model, tmp_path / "served", schema, examples=RAW)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 3), pa.list_(pa.float64()), pa.large_list(pa.float32())])
def test_columns_of_vectors_are_read_and_learned(kind, tmp_path):
    """Lists of one width, with rows that have none: a vector is standardized number by number, and projected."""
    pq.write_table(pa.table({"image": pa.array(IMAGES, kind), **LABELS}), tmp_path / "rows.parquet")
    try:
        pq.read_table(tmp_path / "rows.parquet")
    except (OSError, pa.ArrowInvalid):
        pytest.skip(f"Arrow {pa.__version__} itself reads no Parquet file of fixed-size lists with a row that has none")
    schema = Schema([Numeric("image", size=3, dim=2, flag_missing="row")], TASKS)
    schema = tfmtl.adapt(schema, tfmtl.read(tmp_path / "rows.parquet", schema, batch_size=4))
    image = schema.feature("image")
    np.testing.assert_allclose(image.mean, np.mean(IMAGES[:3], axis=0), rtol=1e-6)
    (x, _), *_ = tfmtl.read(tmp_path / "rows.parquet", schema, batch_size=4, encode=True)
    np.testing.assert_allclose(x["image"], (RAW["image"] - image.mean) / image.std, rtol=1e-5)
    fields = small(schema).get_layer("bottom").embed({"image": np.asarray(x["image"])})
    assert tuple(fields["image"].shape) == (4, 2) and np.isfinite(np.asarray(fields["image"])).all()


@pytest.mark.filterwarnings("ignore:1 of 3 ids")
def test_a_table_that_is_trained_starts_with_the_vectors(file):
    model = small(schema_of(file))
    table = embedding_table(model, schema_of(file), "item")
    np.testing.assert_array_equal(table.get(["c", "a"]), VECTORS)
    assert np.abs(table.get(["b", "?"])).min() > 0
    assert table.trainable


@pytest.mark.filterwarnings("ignore:1 of 3 ids")
def test_every_stream_starts_with_the_vectors(file):
    schema = schema_of(file)
    model = small(schema, stem_net)
    for stream in ("click", "buy", "shared"):
        np.testing.assert_array_equal(embedding_table(model, schema, "item", stream=stream).get(["c", "a"]), VECTORS)


def test_the_schema_holds_the_path_and_what_adapt_saw(file):
    schema = schema_of(file)
    assert Schema.from_json(schema.to_json()) == schema
    item = schema.feature("item")
    assert item.embedding == str(file) and len(item.embedding_digest) == 64
    assert schema.feature("seen").fields[0].embedding_digest == item.embedding_digest
    assert item.encoded().embedding is None
    write_vectors(file, ["a", "b", "c"], np.ones((3, 4), "float32"))
    with pytest.raises(ValueError, match="vectors of 'item' are others than those that `adapt` saw"):
        small(schema)
    features = [replace(item, embedding_digest=None)]
    small(Schema(features, TASKS))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dim": 3}, r"`dim` of 'item' must be the width of its vectors. Received: dim=3; .*\(3, 4\)"),
        ({"vocabulary": ("x", "y")}, "None of these ids is in table 'item'"),
    ],
)
def test_refuses_vectors_that_do_not_fit(options, match, file):
    item = Categorical(**{"name": "item", "vocabulary": IDS, "dim": 4, "embedding": file, **options})
    with pytest.raises(ValueError, match=match):
        small(Schema([item], TASKS))


def test_refuses_what_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"`embedding` of 'item' must be the path of a file.*Received: a ndarray"):
        Categorical("item", vocabulary=IDS, embedding=VECTORS)
    missing = Categorical("item", vocabulary=IDS, dim=4, embedding=tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"`embedding` must be a file\. Received"):
        tfmtl.adapt(Schema([missing], TASKS), [RAW])
    other = replace(missing, name="other", embedding=None, table="item")
    with pytest.raises(ValueError, match="and on the file of vectors"):
        Schema([missing, other], TASKS)

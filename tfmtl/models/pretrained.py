"""Tables that start with vectors from elsewhere."""

import warnings

import numpy as np

from tfmtl.keras_host import keras
from tfmtl.models.embedding_table import embedding_tables
from tfmtl.models.table_files import read_vectors
from tfmtl.paths import digest_of
from tfmtl.schema import Categorical, Schema
from tfmtl.schema.schema import table_readers


def load_pretrained(model: keras.Model, schema: Schema) -> None:
    """Fills the tables of features that name a file of vectors (`Categorical(embedding=)`), each row by its id.

    Of a table that training leaves alone, ids without a vector and everything unknown get 0: rows drawn at random would stay
    noise. Of another they start as they would without a file. Where a model has a table for each stream, all start alike.

    Args:
        model: new, made over the schema.
        schema: of the model.

    Raises:
        ValueError: no such file, another one than `adapt` saw, vectors of another width, or none of a known id.
    """
    for table, field in dict(table_readers(schema.features)).items():
        if field.embedding is not None:
            _load(model, schema, table, field, field.embedding)


def _load(model: keras.Model, schema: Schema, table: str, field: Categorical, file: str) -> None:
    if field.embedding_digest not in (None, digest_of(file, "embedding")):
        raise ValueError(
            f"The vectors of {field.name!r} are others than those that `adapt` saw, and so would the model be. Adapt again, or "
            f"give `embedding_digest=None`. Received: embedding={file!r}"
        )
    ids, vectors = read_vectors(file)
    if vectors.ndim != 2 or vectors.shape[1] != field.dim:
        raise ValueError(
            f"`dim` of {field.name!r} must be the width of its vectors. Received: dim={field.dim}; {file!r} holds "
            f"{vectors.shape}"
        )
    for place in embedding_tables(model, schema, table).values():
        if not field.trainable:
            place.load(np.zeros((1 + len(place.ids), place.dim), "float32"))
        loaded = place.load((ids, vectors))
    if loaded.without_vector:
        warnings.warn(
            f"{len(loaded.without_vector)} of {field.rows - 1} ids of table {table!r} have no vector in {file!r}: "
            f"{list(loaded.without_vector[:3])} ... They {'start as without it' if field.trainable else 'are 0'}.",
            stacklevel=4,
        )

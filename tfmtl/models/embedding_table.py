"""One embedding table of a model, by its name and by the ids of its rows."""

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tfmtl.keras_host import BACKEND, keras, layers_of
from tfmtl.layers.field_embedding import FieldEmbedding
from tfmtl.layers.fused_tables import FusedTables
from tfmtl.layers.stem_embedding import STEMEmbedding
from tfmtl.models.schema_tables import as_matrix, holders_of_tables, table_fields
from tfmtl.models.table_files import read_vectors, write_projector, write_vectors
from tfmtl.schema import Categorical, Numeric, Schema
from tfmtl.schema import Sequence as History
from tfmtl.schema.categorical import MISSING_ID

Vectors = Mapping[Any, Any] | tuple[Sequence[Any], np.ndarray] | str | os.PathLike[str] | np.ndarray


class LoadedVectors(NamedTuple):
    """What became of vectors from elsewhere."""

    rows: int
    """How many rows of the table were set."""

    without_vector: tuple[Any, ...]
    """Ids of the table that were given no vector, and keep what they had."""

    unknown: tuple[Any, ...]
    """Ids that have a vector and no row."""


class EmbeddingTable:
    """The vectors of one table of a model, read and written by raw id; what `embedding_table` gives.

    It holds no copy: what is set is what the model reads from then on, and after training it reads what was learned.
    Row 0 belongs to everything unknown. What an optimizer remembers of a row is left as it is.

    Args:
        name: of the table.
        field: the feature that reads it, with its ids.
        holder: the layer that holds it.
        copy: which of the vectors that lie side by side in a row.
    """

    def __init__(self, name: str, field: Categorical | Numeric, holder: FusedTables, copy: int):
        self.name = name
        self.field = field
        self._weight, self._rows = holder.place_of(name)
        self.dim = holder.dims[name]
        self._columns = slice(copy * self.dim, (copy + 1) * self.dim)

    @property
    def ids(self) -> tuple[Any, ...]:
        """The known ids, in the order of rows 1, 2, ...: of hashed ids the number of the bucket, of bins their edges."""
        if isinstance(self.field, Numeric):
            edges = [-np.inf, *(self.field.boundaries or ()), np.inf]
            return tuple(pairwise(edges))
        if isinstance(self.field.vocabulary, tuple):
            return self.field.vocabulary
        return tuple(range(self.field.rows - 1))

    @property
    def trainable(self) -> bool:
        """Whether training changes it: not with `Categorical(trainable=False)`."""
        return not isinstance(self.field, Categorical) or self.field.trainable

    def vectors(self) -> np.ndarray:
        """All rows, `(1 + len(ids), dim)`: that of everything unknown, then those of `ids`."""
        return as_matrix(self._weight)[self._rows, self._columns]

    def rows_of(self, ids: Iterable[Any]) -> np.ndarray:
        """`(N,)`: the row of each raw id, 0 of an unknown one."""
        given = list(ids)
        if isinstance(self.field, Numeric):
            numbers = np.array(given, "float32")
            bins = np.searchsorted(np.array(self.field.boundaries or (), "float32"), numbers, side="right") + 1
            return np.where(np.isnan(numbers), 0, bins)
        if self.field.hash_buckets:
            return _hashed(self.field, given)
        ids = map(_plain, given)
        if self.field.num_ids:
            return np.array([v + 1 if isinstance(v, int) and 0 <= v < self.field.num_ids else 0 for v in ids], "int64")
        place = {value: row for row, value in enumerate(self.ids, start=1)}
        return np.array([place.get(value, 0) for value in ids], "int64")

    def get(self, ids: Iterable[Any]) -> np.ndarray:
        """`(N, dim)`: the vectors of raw ids; an unknown one has that of row 0, which is what the model reads for it."""
        return self.vectors()[self.rows_of(ids)]

    def set(self, ids: Iterable[Any], vectors: Any) -> None:
        """Gives raw ids their vectors, `(N, dim)`; raises ValueError where an id has no row, and sets nothing then."""
        given = list(ids)
        rows = self.rows_of(given)
        unknown = [value for value, row in zip(given, rows, strict=True) if not row]
        if unknown:
            raise ValueError(
                f"Table {self.name!r} has no row for {len(unknown)} of {len(given)} ids. Received: {unknown[:5]}"
            )
        self._write(rows, vectors)

    def load(self, vectors: Vectors) -> LoadedVectors:
        """Takes vectors from elsewhere over, each row by its id.

        Args:
            vectors: `{id: vector}`, or ids and their matrix, `(ids, (N, dim))`; a matrix over `ids`, `(len(ids), dim)`, or over all rows, `(1 + len(ids), dim)`; or a
                file: `.parquet` with the columns `id` and `vector`, `.npz` with the arrays `ids` and `vectors`, or text with
                an id and its numbers on a line (`.vec`, `.txt`, `.tsv`, as word2vec writes it).

        Returns:
            How many rows were set, and which ids were not.

        Raises:
            ValueError: another width, a number that is not finite, an id with two vectors, or no id in common.
        """
        if isinstance(vectors, np.ndarray):
            return self._load_matrix(vectors)
        given, matrix = read_vectors(vectors) if isinstance(vectors, str | os.PathLike) else _listed(vectors)
        rows = self.rows_of(self._known(given))
        found = rows > 0
        if not found.any():
            raise ValueError(
                f"None of these ids is in table {self.name!r}, which has {self.ids[:3]} ... Received: {list(given[:3])} ..."
            )
        self._write(rows[found], matrix[found])
        left = np.setdiff1d(np.arange(1, self._rows.stop - self._rows.start), rows)
        own = self.ids
        unknown = tuple(value for value, known in zip(given, found, strict=True) if not known)
        return LoadedVectors(int(found.sum()), tuple(own[row - 1] for row in left), unknown)

    def _known(self, ids: Sequence[Any]) -> list[Any]:
        """Ids as the table has them: a file of text knows integers as text."""
        if isinstance(self.field, Categorical) and self.field.dtype == "int64":
            return [int(v) if isinstance(v, str) and v.lstrip("-").isdecimal() else v for v in ids]
        return list(ids)

    def _load_matrix(self, matrix: np.ndarray) -> LoadedVectors:
        size = self._rows.stop - self._rows.start
        if len(matrix) not in (size, size - 1):
            raise ValueError(
                f"A matrix for table {self.name!r} needs {size - 1} rows, one an id, or {size} with that of everything unknown. "
                f"Received: shape={matrix.shape}"
            )
        self._write(np.arange(size - len(matrix), size), matrix)
        return LoadedVectors(len(matrix), (), ())

    def _write(self, rows: np.ndarray, vectors: Any) -> None:
        values = np.asarray(vectors, "float32")
        if values.shape != (len(rows), self.dim):
            raise ValueError(
                f"Vectors of table {self.name!r} must be ({len(rows)}, {self.dim}). Received: shape={values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(
                f"Vectors of table {self.name!r} must be finite. Received: {values[~np.isfinite(values)][0]}"
            )
        if len(np.unique(rows)) < len(rows):
            raise ValueError(
                f"Table {self.name!r} is given two vectors for one row. Received: rows={rows.tolist()[:10]}"
            )
        whole = as_matrix(self._weight)
        whole[self._rows.start + rows, self._columns] = values
        self._weight.assign(whole)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes ids and vectors, without row 0: to `.parquet`, `.npz` or text (`.vec`, `.txt`, `.tsv`), as `load` reads them."""
        write_vectors(path, self._named(), self.vectors()[1:])

    def to_projector(self, folder: str | os.PathLike[str]) -> None:
        """Writes the files that TensorBoard's and TensorFlow's embedding projector show, row 0 as `(unknown)`."""
        write_projector(folder, self.name, ["(unknown)", *self._named()], self.vectors())

    def _named(self) -> list[Any]:
        return [f"[{low}, {high})" for low, high in self.ids] if isinstance(self.field, Numeric) else list(self.ids)

    def __repr__(self) -> str:
        return f"EmbeddingTable({self.name!r}, ids={len(self.ids)}, dim={self.dim}, trainable={self.trainable})"


def embedding_table(model: keras.Model, schema: Schema, name: str, *, stream: str | None = None) -> EmbeddingTable:
    """Finds one table of a model: to load pretrained vectors, to look at what was learned, to write it elsewhere.

    Several tables of one width lie in one weight (`FusedTables`), which has rows and no ids; this finds a table's rows in it.
    To keep loaded vectors as they are, declare the feature with `trainable=False`. Of a model that is trained already, make
    another one over such a schema and let `warm_start` fill it.

    Args:
        model: made by a preset or `build`, or any model with a `FeatureEmbedding` or `STEMEmbedding`.
        schema: of the model.
        name: of a table, or of a column that reads it: a feature's, or a history's such as `seen_item`.
        stream: whose vectors, of a model that has one for each task and stream (`stem_net`): a task's name or `"shared"`.

    Raises:
        ValueError: a schema that is not the model's, no such table, or a stream that is asked for and not there, or the
            other way round.

    Example:

    >>> import numpy as np
    >>> from tfmtl import Categorical, Schema, Task, embedding_table
    >>> from tfmtl.models import ple
    >>> schema = Schema([Categorical("city", vocabulary=("Oslo", "Rome"), dim=4)], [Task("click")])
    >>> model = ple(schema)
    >>> cities = embedding_table(model, schema, "city")
    >>> cities.load({"Rome": np.ones(4), "Lima": np.zeros(4)})
    LoadedVectors(rows=1, without_vector=('Oslo',), unknown=('Lima',))
    >>> cities.get(["Rome"]).tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """
    tables = embedding_tables(model, schema, name)
    if stream not in tables:
        streams = [known for known in tables if known is not None]
        raise ValueError(
            f"`stream` must be one of {streams}, each of which has vectors of its own. Received: stream={stream!r}"
            if streams
            else f"The model has one vector an id, whatever the stream. Received: stream={stream!r}"
        )
    return tables[stream]


def embedding_tables(model: keras.Model, schema: Schema, name: str) -> dict[str | None, EmbeddingTable]:
    """As `embedding_table`, but that of every stream, by its name; of None where the model has one vector an id."""
    holders = holders_of_tables(model, "model", schema)
    fields = table_fields(schema)
    columns = _tables_by_column(schema)
    table = name if name in fields else columns.get(name, name)
    held = [holder for holder in holders if table in holder.num_rows]
    if len(held) != 1:
        tables = sorted({table for holder in holders for table in holder.num_rows})
        raise ValueError(
            f"`name` must be that of one table, or of a column that reads it. Received: name={name!r}, which {len(held)} layers "
            f"hold; tables: {tables}; columns: {sorted(columns)}"
        )
    streams = _streams_of(model, held[0]) or (None,)
    return {stream: EmbeddingTable(table, fields[table], held[0], place) for place, stream in enumerate(streams)}


def _tables_by_column(schema: Schema) -> dict[str, str]:
    found = {f.name: f.table_name for f in schema.features if isinstance(f, Categorical)}
    for feature in schema.features:
        if isinstance(feature, History):
            found.update({feature.column(field): feature.table_name(field) for field in feature.fields})
    return found


def _streams_of(model: keras.Model, holder: FusedTables) -> tuple[str, ...]:
    """The streams whose vectors lie side by side in a row; none where there is one vector."""
    owners = [layer for layer in layers_of(model) if isinstance(layer, FieldEmbedding) and layer.tables is holder]
    return owners[0].streams if owners and isinstance(owners[0], STEMEmbedding) else ()


def _listed(vectors: Mapping[Any, Any] | tuple[Sequence[Any], np.ndarray]) -> tuple[list[Any], np.ndarray]:
    if isinstance(vectors, tuple) and len(vectors) == 2 and len(vectors[0]) == len(vectors[1]):
        return list(vectors[0]), np.asarray(vectors[1], "float32")
    if not isinstance(vectors, Mapping) or not vectors:
        raise ValueError(
            f"`vectors` must be {{id: vector}}, ids and a matrix, a matrix or a file. Received: {type(vectors).__name__}"
        )
    widths = sorted({np.shape(vector) for vector in vectors.values()})
    if len(widths) > 1:
        raise ValueError(f"All vectors must have one width. Received: shapes={widths[:5]}")
    return list(vectors), np.array(list(vectors.values()), "float32")


def _plain(value: Any) -> Any:
    """An id as Python has it: NumPy's numbers and texts, and bytes, are equal to what a vocabulary holds."""
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode() if isinstance(value, bytes) else value


def _hashed(field: Categorical, ids: list[Any]) -> np.ndarray:
    if BACKEND != "tensorflow":
        raise ValueError(
            f"Hashed ids are looked up on the TensorFlow backend, which hashes them. Received: backend={BACKEND!r}"
        )
    from tfmtl.data.encoding import IdEncoder

    empty = MISSING_ID[field.dtype or "string"]
    given = np.array([empty, *ids], object if isinstance(empty, str) else "int64")
    return np.asarray(IdEncoder(field)(given))[1:]

"""Arrow batches to arrays: shuffled in a window of rows, lists padded, text as codes and a dictionary."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from pyarrow import types

from tfmtl.data.arrow import Piece, Reader, shard_pieces
from tfmtl.data.columns import Column
from tfmtl.data.labels import FILE, ROW
from tfmtl.spec.features import MISSING_ID
from tfmtl.typing import Tensor

_CHUNK_ROWS = 1 << 14
"""Rows that cross from Python to TensorFlow at a time: enough to hide what a crossing costs."""


class ArrowSource:
    """What `reader` reads, in chunks of tensors.

    Args:
        reader: opened files or a table.
    """

    def __init__(self, reader: Reader):
        self.reader = reader
        self.files, self.physical, self.check = reader.files, reader.physical, reader.check

    def chunks(
        self, columns: Sequence[Column], shard: tuple[int, int], window: int, seed: int
    ) -> tuple[tf.data.Dataset, int | None]:
        """Chunks of rows as `{key: tensor}`, with `FILE` and `ROW` of every row, and the number of all rows if known.

        With a `window` of more than 0 rows, each pass takes the pieces in another random order and draws rows at random
        from those waiting in the window; the n-th pass is the same in every process of that seed.
        """
        pieces = shard_pieces(self.reader.pieces, *shard)
        sizes = [piece.kept_rows for piece in pieces]
        num_rows = None if None in sizes else sum(size or 0 for size in sizes)
        nothing = f"There is no row to read in part {shard[0]} of {shard[1]}. Received: {', '.join(self.files)}"
        if num_rows == 0:
            raise ValueError(nothing)
        passes = itertools.count()

        def generate() -> Iterator[dict[str, np.ndarray]]:
            random = np.random.default_rng((seed, next(passes)))
            order = [pieces[i] for i in random.permutation(len(pieces))] if window else pieces
            tables = _tables(self.reader.scan(order, columns), columns)
            table = None
            for table in shuffled(tables, window, random) if window else tables:
                for start in range(0, table.num_rows, _CHUNK_ROWS):
                    yield _arrays(table.slice(start, _CHUNK_ROWS), columns, self.files)
            if table is None:  # a file that does not know its rows until it is read
                raise ValueError(nothing)

        chunks = tf.data.Dataset.from_generator(generate, output_signature=_signature(columns))
        return chunks.map(functools.partial(_decoded, columns), num_parallel_calls=tf.data.AUTOTUNE), num_rows


def _tables(batches: Iterable[tuple[Piece, pa.RecordBatch]], columns: Sequence[Column]) -> Iterator[pa.Table]:
    """Each batch without the rows of other shards, its columns by key, and where its rows come from."""
    current, seen = None, 0
    for piece, batch in batches:
        if piece is not current:
            current, seen = piece, 0
        rows = np.arange(seen, seen + batch.num_rows)
        seen += batch.num_rows
        named = {column.key: batch.column(column.name) for column in columns}
        table = pa.table({**named, FILE: np.full(len(rows), piece.file), ROW: rows + piece.first_row})
        if (piece.start, piece.stop, piece.step) != (0, None, 1):
            stop = np.inf if piece.stop is None else piece.stop
            mine = (rows >= piece.start) & (rows < stop) & ((rows - piece.start) % piece.step == 0)
            table = table.filter(pa.array(mine))
        if table.num_rows:
            yield table


def shuffled(tables: Iterable[pa.Table], window: int, random: np.random.Generator) -> Iterator[pa.Table]:
    """Rows in random order: from a full window a random half goes out and the other half waits on."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        if rows >= window:
            pool = _joined(waiting)
            order = random.permutation(rows)
            yield pool.take(order[: rows // 2])
            waiting = [pool.take(order[rows // 2 :])]
            rows = waiting[0].num_rows
    if waiting:
        yield _joined(waiting).take(random.permutation(rows))


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _signature(columns: Sequence[Column]) -> dict[str, tf.TensorSpec]:
    signature = {FILE: tf.TensorSpec((None,), tf.int64), ROW: tf.TensorSpec((None,), tf.int64)}
    for column in columns:
        shape = (None,) if column.width is None else (None, column.width)
        if column.dtype == "string":
            signature[_words(column)] = tf.TensorSpec((None,), tf.string)
        signature[column.key] = tf.TensorSpec(shape, tf.int32 if column.dtype == "string" else column.dtype)
    return signature


@tf.autograph.experimental.do_not_convert
def _decoded(columns: Sequence[Column], chunk: dict[str, Tensor]) -> dict[str, Tensor]:
    """Text from its codes; everything else as it is."""
    decoded = {FILE: chunk[FILE], ROW: chunk[ROW]}
    for column in columns:
        values = chunk[column.key]
        decoded[column.key] = tf.gather(chunk[_words(column)], values) if column.dtype == "string" else values
    return decoded


def _words(column: Column) -> str:
    return f"words:{column.key}"


def _arrays(table: pa.Table, columns: Sequence[Column], files: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of one chunk, as `_signature` describes them."""
    arrays = {name: table.column(name).to_numpy() for name in (FILE, ROW)}
    histories: dict[str, tuple[Column, np.ndarray]] = {}
    for column in columns:
        values = table.column(column.key).combine_chunks()
        if column.width is not None:
            values, starts, lengths = _items(values)
            first, expected = column, np.where(lengths, column.width, 0)
            if column.sequence is not None:
                first, expected = histories.setdefault(column.sequence, (column, lengths))
            _check_lengths(column, lengths, first, expected, lambda row: _place(arrays, row, files))
        arrays[column.key], words = _flat(values, column)
        if words is not None:
            arrays[_words(column)] = words
        if column.width is not None:
            missing = len(words) - 1 if words is not None else MISSING_ID.get(column.dtype, np.nan)
            arrays[column.key] = _padded(arrays[column.key], starts, lengths, column.width, missing)
    return arrays


def _flat(values: pa.Array, column: Column) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers with the missing value where there was none; for text codes, and words of which the last is the empty one."""
    if column.dtype == "int64":
        return values.fill_null(MISSING_ID["int64"]).to_numpy(zero_copy_only=False), None
    if column.dtype != "string":
        return values.to_numpy(zero_copy_only=False).astype(column.dtype), None  # null becomes NaN
    if types.is_dictionary(values.type) and len(values.dictionary) > len(values):
        values = values.dictionary_decode()  # a long dictionary is not worth its way for a short chunk
    if not types.is_dictionary(values.type):
        values = values.dictionary_encode()
    words = values.dictionary.fill_null(MISSING_ID["string"]).to_numpy(zero_copy_only=False)
    return values.indices.fill_null(len(words)).to_numpy(zero_copy_only=False), np.append(words, [MISSING_ID["string"]])


def _items(lists: pa.ListArray) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """The items of all lists in one array, where each list starts in it, and its length; 0 for null."""
    offsets = lists.offsets.to_numpy()
    lengths = np.where(lists.is_valid().to_numpy(zero_copy_only=False), np.diff(offsets), 0)
    return lists.values.slice(offsets[0], offsets[-1] - offsets[0]), offsets[:-1] - offsets[0], lengths


def _padded(items: np.ndarray, starts: np.ndarray, lengths: np.ndarray, width: int, missing: Any) -> np.ndarray:
    """The last `width` items of each list, `(rows, width)`, padded at the end."""
    kept = np.minimum(lengths, width)[:, None]
    place = np.arange(width)
    source = (starts + lengths)[:, None] - kept + place
    items = np.append(items, np.asarray(missing, items.dtype))
    return items[np.where(place < kept, source, len(items) - 1)]


def _check_lengths(column: Column, lengths: np.ndarray, other: Column, expected: np.ndarray, place: Callable) -> None:
    """Raises ValueError at the first list that is not as long as it must be."""
    bad = np.flatnonzero(lengths != expected)
    if len(bad):
        wanted = f"as many as column {other.name!r}" if other is not column else "as the feature's `size`"
        raise ValueError(
            f"{place(bad[0])}: column {column.name!r} must hold {expected[bad[0]]} items, {wanted}. Received: {lengths[bad[0]]}"
        )


def _place(arrays: dict[str, np.ndarray], row: int, files: Sequence[str]) -> str:
    return f"{files[arrays[FILE][row]]}: row {arrays[ROW][row]}"

"""Arrow batches to arrays: shuffled in a window of rows, lists padded, text as codes and a dictionary."""

import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tfmtl.data.arrow import Piece, Reader, shard_pieces
from tfmtl.data.chunk_arrays import arrays_of, without_long_dictionary, words_of
from tfmtl.data.columns import Column
from tfmtl.data.generated import generated
from tfmtl.data.labels import FILE, ROW
from tfmtl.passes import PassCounter
from tfmtl.typing import Tensor

_CHUNK_ROWS = 1 << 14
"""Rows that cross from Python to TensorFlow at a time: enough to hide what a crossing costs."""


class ArrowSource:
    """What `reader` reads, in chunks of tensors.

    Args:
        reader: opened files or a table.

    Attributes:
        num_rows: of all of it, None where it is not known before it is read.
    """

    def __init__(self, reader: Reader):
        self.reader = reader
        self.files, self.physical, self.check = reader.files, reader.physical, reader.check
        sizes = [piece.kept_rows for piece in reader.pieces]
        self.num_rows = None if None in sizes else sum(size or 0 for size in sizes)

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
        passes = PassCounter(seed) if window else None

        def generate() -> Iterator[dict[str, np.ndarray]]:
            order, random = pieces, None
            if passes is not None:
                random = np.random.default_rng((seed, next(passes)))
                order = tuple(pieces[i] for i in random.permutation(len(pieces)))
            tables = _tables(self.reader.scan(order, columns), columns)
            table = None
            for table in tables if random is None else shuffled(tables, window, random):
                for start in range(0, table.num_rows, _CHUNK_ROWS):
                    yield arrays_of(table.slice(start, _CHUNK_ROWS), columns, self.reader)
            if table is None:  # a file that does not know its rows until it is read
                raise ValueError(nothing)

        chunks = generated(generate, _signature(columns))
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
            waiting = [_compact(pool.take(order[rows // 2 :]))]
            rows = waiting[0].num_rows
    if waiting:
        yield _joined(waiting).take(random.permutation(rows))


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _compact(table: pa.Table) -> pa.Table:
    """The same rows without words that none of them uses: those that wait would gather all words of a pass."""
    columns = [
        pa.chunked_array([without_long_dictionary(chunk) for chunk in column.chunks], column.type)
        for column in table.columns
    ]
    return pa.table(columns, schema=table.schema)


def _signature(columns: Sequence[Column]) -> dict[str, tf.TensorSpec]:
    signature = {FILE: tf.TensorSpec((None,), tf.int64), ROW: tf.TensorSpec((None,), tf.int64)}
    for column in columns:
        shape = (None,) if column.width is None else (None, column.width)
        if column.dtype == "string":
            signature[words_of(column)] = tf.TensorSpec((None,), tf.string)
        signature[column.key] = tf.TensorSpec(shape, tf.int32 if column.dtype == "string" else column.dtype)
    return signature


@tf.autograph.experimental.do_not_convert
def _decoded(columns: Sequence[Column], chunk: dict[str, Tensor]) -> dict[str, Tensor]:
    """Text from its codes; everything else as it is."""
    decoded = {FILE: chunk[FILE], ROW: chunk[ROW]}
    for column in columns:
        values = chunk[column.key]
        decoded[column.key] = tf.gather(chunk[words_of(column)], values) if column.dtype == "string" else values
    return decoded

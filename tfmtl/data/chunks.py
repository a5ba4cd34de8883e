"""Arrow batches to arrays: shuffled in a window of rows, lists padded, text as codes and a dictionary."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from pyarrow import types

from tfmtl.data.arrow import Piece, Reader, shard_pieces
from tfmtl.data.columns import Column
from tfmtl.data.csv_hints import hint_of_commas
from tfmtl.data.generated import generated
from tfmtl.data.labels import FILE, ROW
from tfmtl.data.splitting import holds_anything, items_in_words, items_of
from tfmtl.passes import PassCounter
from tfmtl.schema.categorical import MISSING_ID
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
                    yield _arrays(table.slice(start, _CHUNK_ROWS), columns, self.reader)
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
        pa.chunked_array([_without_long_dictionary(chunk) for chunk in column.chunks], column.type)
        for column in table.columns
    ]
    return pa.table(columns, schema=table.schema)


def _without_long_dictionary(values: pa.Array) -> pa.Array:
    """Text that comes with more words than rows with its own words alone; anything else as it is."""
    if types.is_dictionary(values.type) and len(values.dictionary) > len(values):
        return values.dictionary_decode().dictionary_encode()
    return values


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


def _arrays(table: pa.Table, columns: Sequence[Column], reader: Reader) -> dict[str, np.ndarray]:
    """The arrays of one chunk, as `_signature` describes them."""
    arrays = {name: table.column(name).to_numpy() for name in (FILE, ROW)}
    misfits = _Misfits(reader, arrays[FILE], arrays[ROW])
    counts: dict[str, np.ndarray] = {}
    lists: dict[str, list[Column]] = {}  # the columns of each history; of a vector its own
    texts: dict[str, list[Column]] = {}  # the same, of those in texts
    for column in columns:
        values = table.column(column.key).combine_chunks()
        together = column.sequence or column.key
        if column.width is not None:
            lists.setdefault(together, []).append(column)
            counts[column.key] = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
            values = values.flatten()
        arrays[column.key], words = _flat(values, column)
        if words is not None:
            arrays[_words(column)] = words
        if column.separator is not None:
            texts.setdefault(together, []).append(column)
    for fields in texts.values():
        _check_texts(arrays, fields, misfits)
    for fields in lists.values():
        _check_lists(arrays, counts, fields, misfits)
        first = fields[0]
        lengths, width = counts[first.key], first.width or 0
        for column in fields:
            if column.weighs:
                arrays[column.key] = _filled_up(arrays[column.key], counts[column.key], lengths)
        if first.sequence is not None:
            lengths = _keep_events(arrays, fields, lengths)
        for column in fields:
            arrays[column.key] = _padded(arrays[column.key], lengths, width, _missing(arrays, column))
    return arrays


class _Misfits:
    """Says what is to be done about rows of a chunk that hold what they may not: they fail, or are noted where such are left out."""

    def __init__(self, reader: Reader, file: np.ndarray, row: np.ndarray):
        self.form, self.skipped = reader.form, reader.skipped
        self._files, self._file, self._row = reader.files, file, row

    def refuse(self, wrong: np.ndarray, column: Column, must: str, received: Any) -> None:
        """Raises ValueError of the first `wrong` row, or notes them all; what they hold is then to be made a missing value."""
        row = wrong.argmax()
        message = (
            f"{self._files[self._file[row]]}: row {self._row[row]}: column {column.name!r} must hold {must}. "
            f"Received: {received}"
        )
        if self.skipped is None:
            raise ValueError(message)
        self.skipped.note(wrong.sum(), message)


def _flat(values: pa.Array, column: Column) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers with the missing value where there was none; for text codes, and words of which the last is the empty one."""
    if column.dtype == "int64":
        return values.fill_null(column.missing_integer).to_numpy(zero_copy_only=False), None
    if column.dtype != "string":
        return values.to_numpy(zero_copy_only=False).astype(column.dtype), None  # null becomes NaN
    values = _without_long_dictionary(values)  # a long dictionary is not worth its way for a short chunk
    if not types.is_dictionary(values.type):
        values = values.dictionary_encode()
    words = pa.concat_arrays([values.dictionary, pa.array([MISSING_ID["string"]], values.dictionary.type)]).fill_null(
        MISSING_ID["string"]
    )
    codes = values.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    try:
        return codes, words.to_numpy(zero_copy_only=False)
    except pa.ArrowException:  # a file may mark text as UTF-8 that is none; ids are any bytes
        return codes, words.cast(pa.binary()).to_numpy(zero_copy_only=False)


def _missing(arrays: dict[str, np.ndarray], column: Column) -> Any:
    """What stands for a missing item of `column`."""
    if column.dtype == "string":
        return len(arrays[_words(column)]) - 1
    return MISSING_ID.get(column.dtype, np.nan)


def _keep_events(arrays: dict[str, np.ndarray], fields: Sequence[Column], lengths: np.ndarray) -> np.ndarray:
    """Drops the positions of a history where every field is missing, as `pack_events` does, and gives the new lengths.

    Before the last positions are kept: a padded history would else keep its padding.
    """
    missing = np.ones(lengths.sum(), bool)
    for column in fields:
        items = arrays[column.key]
        if column.weighs:
            continue
        if column.dtype == "string":  # a file may hold the empty word itself
            words = arrays[_words(column)]
            missing &= (words == words[-1])[items]
        else:
            missing &= items == _missing(arrays, column)
    if not missing.any():
        return lengths
    for column in fields:
        arrays[column.key] = arrays[column.key][~missing]
    events = np.append(0, np.cumsum(~missing))  # before each position
    ends = np.cumsum(lengths)
    return events[ends] - events[ends - lengths]


def _padded(items: np.ndarray, lengths: np.ndarray, width: int, missing: Any) -> np.ndarray:
    """The last `width` items of each list, `(rows, width)`, padded at the end; `items` holds those of all lists."""
    kept = np.minimum(lengths, width)[:, None]
    place = np.arange(width)
    source = np.cumsum(lengths)[:, None] - kept + place
    items = np.append(items, np.asarray(missing, items.dtype))
    return items[np.where(place < kept, source, len(items) - 1)]


def _uneven(column: Column, first: Column, counts: Mapping[str, np.ndarray], misfits: _Misfits) -> np.ndarray:
    """The rows where `column` holds not as many items as it must, which are refused: as `first`, of its history, or as its size says."""
    found, wanted = counts[column.key], counts[first.key]
    why = f"as many as column {first.name!r}"
    if column.sequence is None:
        wanted, why = np.full_like(found, column.width or column.size), "as the feature's `size`"
    wrong = (found != wanted) & ((found > 0) | (not column.may_hold_none))
    if wrong.any():
        row = wrong.argmax()
        misfits.refuse(wrong, column, f"{wanted[row]} items, {why}", found[row])
    return wrong


def _check_lists(
    arrays: dict[str, np.ndarray], counts: dict[str, np.ndarray], together: Sequence[Column], misfits: _Misfits
) -> None:
    """Raises ValueError at the first list that holds not as many items as it must.

    Where misfits are left out, its row has no vector, no weights, or no history.
    """
    for column in together:
        wrong = _uneven(column, together[0], counts, misfits)
        for other in _lost_with(column, together) if wrong.any() else ():
            arrays[other.key] = arrays[other.key][np.repeat(~wrong, counts[other.key])]
            counts[other.key] = np.where(wrong, 0, counts[other.key])


def _lost_with(column: Column, together: Sequence[Column]) -> Sequence[Column]:
    """Which columns have no value where `column` holds what cannot be read: weights go alone."""
    return [column] if column.weighs else together


def _filled_up(items: np.ndarray, counts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The weights `items` of all rows, with missing ones for the rows that have none."""
    found = np.full(lengths.sum(), np.nan, items.dtype)
    found[np.repeat(counts > 0, lengths)] = items
    return found


def _check_texts(arrays: dict[str, np.ndarray], together: Sequence[Column], misfits: _Misfits) -> None:
    """Raises ValueError at the first text that holds what is no item, or not as many as it must.

    Where misfits are left out, its row has no vector, no weights, or no history.
    """
    if len(together) == 1 and holds_anything(together[0]):
        return
    of_words: dict[str, np.ndarray] = {}

    def blank(column: Column, rows: np.ndarray) -> None:
        for other in _lost_with(column, together):
            arrays[other.key] = np.where(rows, len(arrays[_words(other)]) - 1, arrays[other.key])

    for column in together:
        words = arrays[_words(column)]
        arrays[_words(column)], of_words[column.key], wrong_words = items_of(words, column, misfits.form)
        wrong = wrong_words[arrays[column.key]]
        if wrong.any():
            received = words[arrays[column.key][wrong.argmax()]]
            hint = "" if misfits.form is None else hint_of_commas(repr(received))
            misfits.refuse(wrong, column, items_in_words(column, misfits.form), f"{received!r}{hint}")
            blank(column, wrong)
    for column in together:
        counts = {other.key: of_words[other.key][arrays[other.key]] for other in together}
        wrong = _uneven(column, together[0], counts, misfits)
        if wrong.any():
            blank(column, wrong)

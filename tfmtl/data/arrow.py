"""Files and tables as one stream of Arrow batches that know their file and rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from tfmtl.data.columns import Column, Physical, check_types, physical_of
from tfmtl.data.csv_format import CsvFormat
from tfmtl.data.decoding import cast, common_schema
from tfmtl.data.skipped import Skipped

SCAN_ROWS = 1 << 15
"""Rows that are decoded at a time."""


@dataclass(frozen=True)
class Piece:
    """Rows that are read together: a row group, a CSV file, a part of a table.

    Args:
        file: number of its file.
        first_row: where it starts in its file.
        num_rows: None while unknown.
        group: number of the row group in a Parquet file.
        start, stop, step: the rows to hand on, counted within the piece.
    """

    file: int
    first_row: int = 0
    num_rows: int | None = None
    group: int | None = None
    start: int = 0
    stop: int | None = None
    step: int = 1

    @property
    def kept_rows(self) -> int | None:
        """How many rows are handed on."""
        return None if self.num_rows is None else len(range(self.num_rows)[self.start : self.stop : self.step])


def shard_pieces(pieces: tuple[Piece, ...], index: int, count: int) -> tuple[Piece, ...]:
    """Part `index` of `count` parts that share no row and together hold all.

    Pieces that know their rows are cut into ranges of equal length, to one row. Others are dealt out whole if that
    comes out even; if not, every part reads all of them and keeps each `count`-th row.
    """
    if any(piece.num_rows is None for piece in pieces):
        if len(pieces) % count == 0:
            return pieces[index::count]
        return tuple(replace(piece, start=index, step=count) for piece in pieces)
    sizes = [piece.num_rows or 0 for piece in pieces]
    start, stop = (sum(sizes) * i // count for i in (index, index + 1))
    kept: list[Piece] = []
    seen = 0
    for piece, size in zip(pieces, sizes, strict=True):
        low, high = max(start - seen, 0), min(stop - seen, size)
        if low < high:
            kept.append(replace(piece, start=low, stop=high))
        seen += size
    return tuple(kept)


class Reader(Protocol):
    """Opened files, or a table, that can be read as Arrow batches."""

    files: tuple[str, ...]
    physical: list[Physical]
    pieces: tuple[Piece, ...]
    skipped: Skipped | None

    @property
    def form(self) -> CsvFormat | None:
        """How they write numbers within texts; None of what is no CSV file."""

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a column does not hold what is needed."""

    def scan(self, pieces: Sequence[Piece], columns: Sequence[Column]) -> Iterator[tuple[Piece, pa.RecordBatch]]:
        """The batches of `pieces`, in order, with the columns named as in the source."""


def first_rows(blocks: Iterable[pa.RecordBatch], rows: int) -> list[pa.RecordBatch]:
    """Those that hold the first `rows` rows."""
    found, seen = [], 0
    for block in blocks:
        found.append(block)
        seen += block.num_rows
        if seen >= rows:
            break
    return found


def with_nulls(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """`rows` with a column of nulls for each of `names` that it lacks."""
    for name in names:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows))
    return rows


class TableReader:
    """A table in memory, called `name` in messages."""

    form: CsvFormat | None = None

    def __init__(self, name: str, table: pa.Table, names: Iterable[str], skipped: Skipped | None = None):
        self.skipped = skipped
        self.files: tuple[str, ...] = (name,)
        self.physical: list[Physical] = [physical_of(name, table.schema, names)]
        starts = range(0, table.num_rows, SCAN_ROWS)
        self.pieces = tuple(Piece(0, start, min(SCAN_ROWS, table.num_rows - start)) for start in starts)
        self._table = table

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a column is of another type than needed."""
        for file, physical in zip(self.files, self.physical, strict=True):
            check_types(file, columns, physical)

    def scan(self, pieces: Sequence[Piece], columns: Sequence[Column]) -> Iterator[tuple[Piece, pa.RecordBatch]]:
        """The batches of `pieces`, in order."""
        schema = common_schema(columns, self.physical)
        for piece in pieces:
            part = with_nulls(self._table.slice(piece.first_row, piece.num_rows), schema.names)
            part = cast(part, schema, self.files[0], piece.first_row, self.skipped)
            yield piece, part.combine_chunks().to_batches()[0]

"""Parquet files, CSV files and tables in memory as one stream of Arrow batches that know their file and rows."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.dataset as pa_dataset
import pyarrow.fs
import pyarrow.parquet as pa_parquet
from pyarrow import types

from tfmtl.data.columns import Column, Physical, check_types
from tfmtl.data.decoding import cast, common_schema, own_schema

SCAN_ROWS = 1 << 15
"""Rows that are decoded at a time."""
_READAHEAD = {"batch_readahead": 2, "fragment_readahead": 4}
_CSV_BLOCK = pa_csv.ReadOptions(block_size=4 << 20)
_CSV_FORM = pa_csv.ParseOptions(newlines_in_values=True)
"""Quoted text may go over several lines, also where a block ends; that costs nothing measurable."""


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

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a column does not hold what is needed."""

    def scan(self, pieces: Sequence[Piece], columns: Sequence[Column]) -> Iterator[tuple[Piece, pa.RecordBatch]]:
        """The batches of `pieces`, in order, with the columns named as in the source."""


class TableReader:
    """A table in memory, called `name` in messages."""

    def __init__(self, name: str, table: pa.Table):
        self.files: tuple[str, ...] = (name,)
        self.physical: list[Physical] = [dict(zip(table.column_names, table.schema.types, strict=True))]
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
            part = self._table.slice(piece.first_row, piece.num_rows)
            yield piece, cast(part, schema, self.files[0], piece.first_row).combine_chunks().to_batches()[0]


class ParquetReader:
    """Parquet files, read by row group. Text is read as codes and a dictionary, as the files hold it."""

    def __init__(self, files: tuple[str, ...]):
        self.files = files
        self.physical: list[Physical] = []
        pieces: list[Piece] = []
        for number, file in enumerate(files):
            try:
                metadata = pa_parquet.read_metadata(file)
                schema = metadata.schema.to_arrow_schema()
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"{file}: not a readable Parquet file: {error}") from error
            self.physical.append(dict(zip(schema.names, schema.types, strict=True)))
            first_row = 0
            for group in range(metadata.num_row_groups):
                num_rows = metadata.row_group(group).num_rows
                pieces.append(Piece(number, first_row, num_rows, group))
                first_row += num_rows
        self.pieces = tuple(pieces)

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a column is of another type than needed."""
        for file, physical in zip(self.files, self.physical, strict=True):
            check_types(file, columns, physical)

    def scan(self, pieces: Sequence[Piece], columns: Sequence[Column]) -> Iterator[tuple[Piece, pa.RecordBatch]]:
        """The batches of `pieces`, in order; several are decoded at a time."""
        schema = common_schema(columns, self.physical)
        own = [own_schema(schema, physical) for physical in self.physical]
        # Files of other types have a scan of their own, which goes on whenever it is their turn.
        scans = {kind: self._decoded([p for p in pieces if own[p.file] == kind], kind) for kind in dict.fromkeys(own)}
        for piece in pieces:
            seen = 0
            while seen < (piece.num_rows or 0):
                batch = next(scans[own[piece.file]])
                yield piece, cast(batch, schema, self.files[piece.file], piece.first_row + seen)
                seen += batch.num_rows

    def _decoded(self, pieces: Sequence[Piece], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The batches of pieces whose files hold the types of `schema`."""
        text = [name for name in schema.names if types.is_dictionary(schema.field(name).type)]
        options = pa_dataset.ParquetReadOptions(dictionary_columns=text)
        arrow_format = pa_dataset.ParquetFileFormat(read_options=options)
        whole = {
            n: arrow_format.make_fragment(self.files[n], pa.fs.LocalFileSystem()) for n in {p.file for p in pieces}
        }
        fragments = [whole[piece.file].subset(row_group_ids=[piece.group]) for piece in pieces]
        try:
            dataset = pa_dataset.FileSystemDataset(fragments, schema, arrow_format, pa.fs.LocalFileSystem())
            yield from dataset.to_batches(batch_size=SCAN_ROWS, **_READAHEAD)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self._broken(pieces, schema)}: not a readable Parquet file: {error}") from error

    def _broken(self, pieces: Sequence[Piece], schema: pa.Schema) -> str:
        """The first of the files that cannot be read through."""
        for file in dict.fromkeys(self.files[piece.file] for piece in pieces):
            try:
                for _ in pa_dataset.dataset(file, schema=schema, format="parquet").to_batches():
                    pass
            except (pa.ArrowException, OSError):
                return file
        return " or ".join(self.files)


class CsvReader:
    """CSV files with a header, plain or gzipped. The schema says what their columns hold."""

    def __init__(self, files: tuple[str, ...]):
        self.files = files
        self.pieces = tuple(Piece(number) for number in range(len(files)))
        self.physical: list[Physical] = []
        for file in files:
            try:
                first = pa_csv.open_csv(file, _CSV_BLOCK, _CSV_FORM).schema
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"{file}: not a readable CSV file: {error}") from error
            self.physical.append(dict(zip(first.names, first.types, strict=True)))

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a first block does not hold what `columns` need."""
        lists = [column.name for column in columns if column.width is not None]
        if lists:
            raise ValueError(f"{self.files[0]}: a CSV file holds no lists, as columns {lists} must be; use Parquet.")
        for file in self.files:
            _read_through(file, self._schema(columns), blocks=1)

    def scan(self, pieces: Sequence[Piece], columns: Sequence[Column]) -> Iterator[tuple[Piece, pa.RecordBatch]]:
        """The batches of `pieces`, in order; several files are parsed at a time."""
        schema = self._schema(columns)
        order = {self.files[piece.file]: piece for piece in pieces}
        convert = pa_csv.ConvertOptions(column_types=schema)
        arrow_format = pa_dataset.CsvFileFormat(_CSV_FORM, convert_options=convert, read_options=_CSV_BLOCK)
        try:
            scanner = pa_dataset.dataset(list(order), schema=schema, format=arrow_format).scanner(
                batch_size=SCAN_ROWS, **_READAHEAD
            )
            for tagged in scanner.scan_batches():
                piece = order[tagged.fragment.path]
                yield piece, cast(tagged.record_batch, common_schema(columns, []), self.files[piece.file], 0)
        except (pa.ArrowException, OSError):
            for file in order:
                _read_through(file, schema)  # raises for the file at fault, naming column and row
            raise

    def _schema(self, columns: Sequence[Column]) -> pa.Schema:
        """The types to parse: as `columns` need them, but for numbers that are written as true and false."""
        truths = {name for physical in self.physical for name, found in physical.items() if types.is_boolean(found)}
        fields = common_schema(columns, [])
        return pa.schema(
            [f.with_type(pa.bool_()) if types.is_floating(f.type) and f.name in truths else f for f in fields]
        )


def _read_through(file: str, schema: pa.Schema, blocks: int | None = None) -> None:
    """Reads the first `blocks` of a CSV file; ValueError that names column and row of the first value that does not fit."""
    convert = pa_csv.ConvertOptions(column_types=schema, include_columns=schema.names)
    serial = pa_csv.ReadOptions(block_size=_CSV_BLOCK.block_size, use_threads=False)  # so that errors know their row
    try:
        for _ in islice(pa_csv.open_csv(file, serial, _CSV_FORM, convert), blocks):
            pass
    except (pa.ArrowException, OSError) as error:
        with pa_csv.open_csv(file, _CSV_BLOCK, _CSV_FORM) as reader:
            names = reader.schema.names
        # Arrow counts columns from 0 and rows from 1, the header being the first.
        text = re.sub(r"In CSV column #(\d+)", lambda found: f"column {names[int(found[1])]!r}", str(error))
        text = re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - 2}", text)
        raise ValueError(f"{file}: {text}") from error

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

from tfmtl.data.columns import Column, Physical, check_types, item_type

SCAN_ROWS = 1 << 15
"""Rows that are decoded at a time."""
_READAHEAD = {"batch_readahead": 2, "fragment_readahead": 4}
_CSV_BLOCK = pa_csv.ReadOptions(block_size=4 << 20)


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
        schema = scan_schema(columns, self.physical)
        table = self._table.select(schema.names)
        for piece in pieces:
            part = table.slice(piece.first_row, piece.num_rows).cast(schema)
            yield piece, part.combine_chunks().to_batches()[0]


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
        schema = scan_schema(columns, self.physical)
        text = [name for name in schema.names if types.is_dictionary(schema.field(name).type)]
        options = pa_dataset.ParquetReadOptions(dictionary_columns=text)
        arrow_format = pa_dataset.ParquetFileFormat(read_options=options)
        whole = {
            n: arrow_format.make_fragment(self.files[n], pa.fs.LocalFileSystem()) for n in {p.file for p in pieces}
        }
        fragments = [whole[piece.file].subset(row_group_ids=[piece.group]) for piece in pieces]
        order = {(self.files[piece.file], piece.group): piece for piece in pieces}
        try:
            scanner = pa_dataset.FileSystemDataset(fragments, schema, arrow_format, pa.fs.LocalFileSystem()).scanner(
                batch_size=SCAN_ROWS, **_READAHEAD
            )
            for tagged in scanner.scan_batches():
                yield order[tagged.fragment.path, tagged.fragment.row_groups[0].id], tagged.record_batch
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self._broken(pieces, schema)}: not a readable Parquet file: {error}") from error

    def _broken(self, pieces: Sequence[Piece], schema: pa.Schema) -> str:
        """The first of the files that cannot be read through."""
        for file in dict.fromkeys(self.files[piece.file] for piece in pieces):
            try:
                pa_dataset.dataset(file, schema=schema, format="parquet").scanner(columns=schema.names).count_rows()
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
                first = pa_csv.open_csv(file, read_options=_CSV_BLOCK).schema
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"{file}: not a readable CSV file: {error}") from error
            self.physical.append(dict(zip(first.names, first.types, strict=True)))

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a first block does not hold what `columns` need."""
        lists = [column.name for column in columns if column.width is not None]
        if lists:
            raise ValueError(f"{self.files[0]}: a CSV file holds no lists, as columns {lists} must be; use Parquet.")
        for file in self.files:
            _read_through(file, scan_schema(columns, []), blocks=1)

    def scan(self, pieces: Sequence[Piece], columns: Sequence[Column]) -> Iterator[tuple[Piece, pa.RecordBatch]]:
        """The batches of `pieces`, in order; several files are parsed at a time."""
        schema = scan_schema(columns, [])
        order = {self.files[piece.file]: piece for piece in pieces}
        convert = pa_csv.ConvertOptions(column_types=schema)
        arrow_format = pa_dataset.CsvFileFormat(convert_options=convert, read_options=_CSV_BLOCK)
        try:
            scanner = pa_dataset.dataset(list(order), schema=schema, format=arrow_format).scanner(
                batch_size=SCAN_ROWS, **_READAHEAD
            )
            for tagged in scanner.scan_batches():
                yield order[tagged.fragment.path], tagged.record_batch
        except (pa.ArrowException, OSError):
            for file in order:
                _read_through(file, schema)  # raises for the file at fault, naming column and row
            raise


def _read_through(file: str, schema: pa.Schema, blocks: int | None = None) -> None:
    """Reads the first `blocks` of a CSV file; ValueError that names column and row of the first value that does not fit."""
    convert = pa_csv.ConvertOptions(column_types=schema, include_columns=schema.names)
    serial = pa_csv.ReadOptions(block_size=_CSV_BLOCK.block_size, use_threads=False)  # so that errors know their row
    try:
        for _ in islice(pa_csv.open_csv(file, read_options=serial, convert_options=convert), blocks):
            pass
    except (pa.ArrowException, OSError) as error:
        with pa_csv.open_csv(file, read_options=_CSV_BLOCK) as reader:
            names = reader.schema.names
        # Arrow counts columns from 0 and rows from 1, the header being the first.
        text = re.sub(r"In CSV column #(\d+)", lambda found: f"column {names[int(found[1])]!r}", str(error))
        text = re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - 2}", text)
        raise ValueError(f"{file}: {text}") from error


def scan_schema(columns: Sequence[Column], physical: Sequence[Physical]) -> pa.Schema:
    """The types to decode to: one for all files, wide enough to lose nothing.

    Text becomes codes and a dictionary, ids int64; other numbers stay integers where they are integers everywhere.
    """
    fields: dict[str, pa.DataType] = {}
    for column in columns:
        found = [types_of[column.name] for types_of in physical]
        whole = bool(found) and all(types.is_integer(item_type(kind)) for kind in found)
        if column.dtype == "string":
            item = pa.string() if column.width else pa.dictionary(pa.int32(), pa.string())
        else:
            item = pa.int64() if column.dtype == "int64" or whole else pa.float64()
        fields.setdefault(column.name, pa.list_(item) if column.width else item)  # features come before labels
    return pa.schema(fields)

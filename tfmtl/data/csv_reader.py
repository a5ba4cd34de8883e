"""CSV files as one stream of Arrow batches."""

import re
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv
from pyarrow import types

from tfmtl.data.arrow import Piece
from tfmtl.data.columns import Column, Physical, physical_of
from tfmtl.data.csv_format import CsvFormat
from tfmtl.data.decoding import cast, common_schema
from tfmtl.data.store import Store

_BLOCK = 4 << 20
"""Bytes that are parsed at a time: what a file costs in memory, a few times over, however long it is."""


class CsvReader:
    """CSV files, plain or packed, read one after the other, a block at a time. The schema says what their columns hold."""

    def __init__(self, files: tuple[str, ...], store: Store, form: CsvFormat, names: Iterable[str]):
        self.files = files
        self.store = store
        self.form = form
        self.pieces = tuple(Piece(number) for number in range(len(files)))
        self.physical: list[Physical] = []
        names = tuple(names)
        empty = []
        for file in files:
            try:
                with self._open(file) as blocks:
                    self.physical.append(physical_of(file, blocks.schema, names))
                    empty.append(not any(block.num_rows for block in blocks))
            except (pa.ArrowException, OSError, UnicodeError) as error:
                raise ValueError(f"{file}: not a readable CSV file: {error}{_hint(error)}") from error
        if all(empty):
            raise ValueError(f"There is no row to read. Received: {', '.join(files)}")

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a first block does not hold what `columns` need."""
        lists = [column.name for column in columns if column.width is not None]
        if lists:
            raise ValueError(
                f"{self.files[0]}: a CSV file holds no lists, as columns {lists} must be; use Parquet, or texts of ids with the "
                "`separator` of a `Sequence`."
            )
        for file in self.files:
            next(self.blocks(file, self._schema(columns)), None)

    def scan(self, pieces: Sequence[Piece], columns: Sequence[Column]) -> Iterator[tuple[Piece, pa.RecordBatch]]:
        """The batches of `pieces`, in order."""
        schema, common = self._schema(columns), common_schema(columns, [])
        for piece in pieces:
            file, seen = self.files[piece.file], 0
            for batch in self.blocks(file, schema):
                yield piece, cast(batch, common, file, seen)
                seen += batch.num_rows

    def _schema(self, columns: Sequence[Column]) -> pa.Schema:
        """The types to parse: as `columns` need them, but for numbers that are written as true and false."""
        truths = {name for physical in self.physical for name, found in physical.items() if types.is_boolean(found)}
        fields = common_schema(columns, [])
        numbers = {f.name for f in fields if types.is_floating(f.type) or types.is_integer(f.type)}
        return pa.schema([f.with_type(pa.bool_()) if f.name in truths & numbers else f for f in fields])

    def _open(self, file: str, schema: pa.Schema | None = None, *, threads: bool = True) -> pa_csv.CSVStreamingReader:
        return pa_csv.open_csv(
            self.store.open_stream(file),
            self.form.read_options(_BLOCK, threads=threads),
            self.form.parse_options(file),
            self.form.convert_options(schema),
        )

    def blocks(self, file: str, schema: pa.Schema | None = None, *, threads: bool = True) -> Iterator[pa.RecordBatch]:
        """A file, block by block, in the types of `schema` or in those that its first block shows.

        Raises:
            ValueError: a value that does not fit, by column and row.
        """
        try:
            with self._open(file, schema, threads=threads) as blocks:
                yield from blocks
        except (pa.ArrowException, OSError, UnicodeError) as error:
            if threads:  # errors know their row where one thread reads
                for _ in self.blocks(file, schema, threads=False):
                    pass
            raise ValueError(f"{file}: {self._told(file, str(error))}{_hint(error)}") from error

    def _told(self, file: str, error: str) -> str:
        """Arrow's words with our names: it counts columns from 0 and rows from 1, the header being the first if there is one."""
        with self._open(file) as blocks:
            names = blocks.schema.names
        before = 2 if self.form.column_names is None else 1
        text = re.sub(r"In CSV column #(\d+)", lambda found: f"column {names[int(found[1])]!r}", error)
        return re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - before}", text)


def _hint(error: Exception) -> str:
    if isinstance(error, UnicodeError) or "UTF8" in str(error):
        return " (a file that is not UTF-8 needs its encoding, such as `csv=CsvFormat(encoding='latin-1')`)"
    return ""

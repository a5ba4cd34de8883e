"""CSV files as one stream of Arrow batches."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from pyarrow import types

from tfmtl.data.arrow import Piece
from tfmtl.data.columns import Column, Physical, physical_of
from tfmtl.data.csv_format import CsvFormat
from tfmtl.data.decoding import cast, common_schema
from tfmtl.data.skipped import Skipped
from tfmtl.data.store import Store

_BLOCK = 4 << 20
"""Bytes that are parsed at a time: what a file costs in memory, a few times over, however long it is."""


class CsvReader:
    """CSV files, plain or packed, read one after the other, a block at a time. The schema says what their columns hold.

    With `skipped`, values are read as the texts that they are and then cast one by one where they do not fit, and lines with
    another number of values than the header are left out.
    """

    def __init__(
        self,
        files: tuple[str, ...],
        store: Store,
        form: CsvFormat,
        names: Iterable[str],
        skipped: Skipped | None = None,
    ):
        self.skipped = skipped
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
            for batch in self.blocks(file, schema, noting=True):
                rows = batch if self.skipped is None else self._numbers_of_texts(batch, common)
                yield piece, cast(rows, common, file, seen, self.skipped)
                seen += batch.num_rows

    def _schema(self, columns: Sequence[Column]) -> pa.Schema:
        """The types to parse: as `columns` need them, but for numbers that are written as true and false."""
        truths = {name for physical in self.physical for name, found in physical.items() if types.is_boolean(found)}
        fields = []
        for field in common_schema(columns, []):
            if _is_number(field.type) and field.name in truths:
                field = field.with_type(pa.bool_())
            elif _is_number(field.type) and self.skipped is not None:
                field = field.with_type(pa.string())
            fields.append(field)
        return pa.schema(fields)

    def _numbers_of_texts(self, batch: pa.RecordBatch, common: pa.Schema) -> pa.RecordBatch:
        """`batch` whose texts of numbers are written as Arrow casts them, null where a number is missing."""
        missing = pa.array(self.form.null_values())
        arrays = []
        for field in common:
            values = batch.column(field.name)
            if _is_number(field.type) and types.is_string(values.type):
                values = pc.utf8_trim_whitespace(values)
                values = pc.if_else(pc.is_in(values, missing), pa.scalar(None, pa.string()), values)
                if self.form.decimal_point != ".":
                    values = pc.replace_substring(values, self.form.decimal_point, ".")
            arrays.append(values)
        return pa.RecordBatch.from_arrays(arrays, common.names)

    def _leaving_out(self, file: str, noting: bool) -> Callable[[Any], str] | None:
        """What Arrow asks about lines with another number of values: None, which fails, or what leaves them out."""
        skipped = self.skipped
        if skipped is None:
            return None

        def leave_out(row: Any) -> str:
            if noting:
                found = f"{row.actual_columns} values instead of {row.expected_columns}"
                skipped.note(1, f"{file}: a line has {found}: {row.text!r}")
            return "skip"

        return leave_out

    def _open(
        self, file: str, schema: pa.Schema | None = None, *, threads: bool = True, noting: bool = False
    ) -> pa_csv.CSVStreamingReader:
        return pa_csv.open_csv(
            self.store.open_stream(file),
            self.form.read_options(_BLOCK, threads=threads),
            self.form.parse_options(file, self._leaving_out(file, noting)),
            self.form.convert_options(schema),
        )

    def blocks(
        self, file: str, schema: pa.Schema | None = None, *, threads: bool = True, noting: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """A file, block by block, in the types of `schema` or in those that its first block shows.

        Args:
            file: its name.
            schema: of the columns to read.
            threads: whether several parse.
            noting: whether lines that are left out are counted.

        Raises:
            ValueError: a value that does not fit, by column and row.
        """
        try:
            with self._open(file, schema, threads=threads, noting=noting) as blocks:
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


def _is_number(kind: pa.DataType) -> bool:
    return bool(types.is_floating(kind) or types.is_integer(kind))


def _hint(error: Exception) -> str:
    if isinstance(error, UnicodeError) or "UTF8" in str(error):
        return " (a file that is not UTF-8 needs its encoding, such as `csv=CsvFormat(encoding='latin-1')`)"
    return ""

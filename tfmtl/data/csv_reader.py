"""CSV files as one stream of Arrow batches."""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from pyarrow import types

from tfmtl.data.arrow import Piece, first_rows
from tfmtl.data.columns import Column, Physical, physical_of
from tfmtl.data.csv_format import CsvFormat
from tfmtl.data.decoding import cast, common_schema
from tfmtl.data.hints import hint_of_error, other_format
from tfmtl.data.skipped import Skipped
from tfmtl.data.store import Store

_BLOCK = 4 << 20
"""Bytes that are parsed at a time: what a file costs in memory, a few times over, however long it is."""
_LARGEST_HEAD = 64 * _BLOCK
_TRUTHS = (pa_csv.ConvertOptions().true_values, pa_csv.ConvertOptions().false_values)
_NO_NUMBER = "?"


class CsvReader:
    """CSV files, plain or packed, read one after the other, a block at a time. The schema says what their columns hold.

    With `skipped`, values are read as the bytes that they are and then cast one by one where they do not fit, and lines with
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
        self._truths: set[str] = set()  # the columns of true and false
        self._labels: set[str] = set()
        self._guessed: set[str] = set()
        names = tuple(names)
        empty = []
        for file in files:
            try:
                self._check_start(file)
                with self._open(file) as blocks:
                    self.physical.append(physical_of(file, blocks.schema, names))
                    first = next((block for block in blocks if block.num_rows), None)
                    empty.append(first is None)
                    self._truths |= set() if first is None else _truths_of(first)
            except (pa.ArrowException, OSError, UnicodeError) as error:
                raise ValueError(f"{file}: not a readable CSV file: {error}{self._hint(str(error))}") from error
        if all(empty):
            raise ValueError(f"There is no row to read. Received: {', '.join(files)}")

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a first block does not hold what `columns` need."""
        lists = [column.name for column in columns if column.width is not None]
        if lists:
            raise ValueError(
                f"{self.files[0]}: a CSV file holds no lists, as columns {lists} must be; use Parquet, or texts of ids or numbers "
                "and the `separator` of a `Sequence` or `Numeric`."
            )
        self._labels = {column.name for column in columns if column.label}
        self._guessed = {column.name for column in columns if column.guessed and column.dtype == "int64"}
        point = self.form.decimal_point
        for column in columns:
            between = f"{column.separator or ''}{column.weight_separator or ''}"
            if point in between and (column.items == "float32" or column.weight_separator):
                raise ValueError(
                    f"{self.files[0]}: the decimal point of column {column.name!r} cannot be what separates its numbers. "
                    f"Received: decimal_point={point!r}, separator={column.separator!r}"
                )
        for file in self.files:
            next(self.blocks(file, self._schema(columns)), None)

    def scan(self, pieces: Sequence[Piece], columns: Sequence[Column]) -> Iterator[tuple[Piece, pa.RecordBatch]]:
        """The batches of `pieces`, in order."""
        schema, common = self._schema(columns), common_schema(columns, [])
        for piece in pieces:
            file, seen = self.files[piece.file], 0
            for batch in self.blocks(file, schema, noting=True):
                rows = batch if self.skipped is None else self._numbers_of_bytes(batch, common)
                yield piece, cast(rows, common, file, seen, self.skipped, as_written=batch)
                seen += batch.num_rows

    def _schema(self, columns: Sequence[Column]) -> pa.Schema:
        """The types to parse: as `columns` need them, but for numbers that are written as true and false; bytes with `skipped`."""
        fields = []
        for field in common_schema(columns, []):
            if self.skipped is not None:
                field = field.with_type(pa.binary())
            elif _is_number(field.type) and field.name in self._truths:
                field = field.with_type(pa.bool_())
            fields.append(field)
        return pa.schema(fields)

    def _numbers_of_bytes(self, batch: pa.RecordBatch, common: pa.Schema) -> pa.RecordBatch:
        """`batch` whose bytes of numbers are texts as Arrow casts them, null where a number is missing."""
        arrays = []
        for field in common:
            values = batch.column(field.name)
            if _is_number(field.type):
                values = pc.if_else(pc.match_substring_regex(values, "^[[:ascii:]]*$"), values, _NO_NUMBER.encode())
                values = pc.utf8_trim_whitespace(values.cast(pa.string()))
                values = pc.if_else(pc.is_in(values, pa.array(self.form.null_values())), None, values)
                if self.form.decimal_point != ".":
                    values = pc.replace_substring(values, ".", _NO_NUMBER)
                    values = pc.replace_substring(values, self.form.decimal_point, ".")
                for written, number in zip(_TRUTHS, "10", strict=True) if field.name in self._truths else ():
                    values = pc.if_else(pc.is_in(values, pa.array(written)), number, values)
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
        self,
        file: str,
        schema: pa.Schema | None = None,
        *,
        threads: bool = True,
        noting: bool = False,
        block: int = _BLOCK,
    ) -> pa_csv.CSVStreamingReader:
        return pa_csv.open_csv(
            self.store.open_stream(file),
            self.form.read_options(block, threads=threads),
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
            told = self._told(file, str(error))
            raise ValueError(f"{file}: {told}{self._hint(told)}") from error

    def head(self, file: str, rows: int) -> list[pa.RecordBatch]:
        """The first blocks of a file, of `rows` rows or more, in types that hold all of these."""
        block = _BLOCK
        while True:  # Arrow takes the types that the first block shows
            try:
                with self._open(file, block=block) as blocks:
                    return first_rows(blocks, rows)
            except pa.ArrowInvalid:
                if block >= _LARGEST_HEAD:
                    return first_rows(self.blocks(file), rows)
                block *= 4

    def _hint(self, told: str) -> str:
        return hint_of_error(told, self._labels, self._guessed, self.form.decimal_point)

    def _check_start(self, file: str) -> None:
        """Raises ValueError of a file of another format, of which Arrow could read something."""
        if codecs.lookup(self.form.encoding).name != "utf-8" or file.lower().endswith(".gz"):
            return
        with self.store.filesystem.open_input_stream(self.store.path(file), compression=None) as opened:
            other = other_format(opened.read(4))
        if other:
            raise ValueError(f"{file}: not a readable CSV file: {other}")

    def _told(self, file: str, error: str) -> str:
        """Arrow's words with our names: it counts columns from 0 and rows from 1, the header being the first if there is one."""
        with self._open(file) as blocks:
            names = blocks.schema.names
        before = 2 if self.form.column_names is None else 1
        text = re.sub(r"In CSV column #(\d+)", lambda found: f"column {names[int(found[1])]!r}", error)
        return re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - before}", text)


def _truths_of(rows: pa.RecordBatch) -> set[str]:
    """The columns that hold true and false, or mostly: a few that are neither are told one by one."""
    words, found = pa.array([word for words in _TRUTHS for word in words if word.isalpha()]), set()
    for name, values in zip(rows.schema.names, rows.columns, strict=True):
        mostly = types.is_string(values.type) and pc.mean(pc.is_in(values, words)).as_py() > 0.5
        if mostly or types.is_boolean(values.type):
            found.add(name)
    return found


def _is_number(kind: pa.DataType) -> bool:
    return bool(types.is_floating(kind) or types.is_integer(kind))

"""Columns that are in no file because the names of folders hold them, as in `date=2026-11-01/part-0.parquet`."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from tfmtl.data.arrow import Piece, Reader
from tfmtl.data.columns import Column, Physical, check_present, check_types

_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What Hive and Spark call the folder of rows without a value."""


def folder_values(file: str) -> dict[str, str | None]:
    """`{key: value}` of the folders above `file` that are called `key=value`; None where Hive wrote none."""
    pairs = [part.partition("=") for part in Path(file).parts[:-1] if "=" in part]
    return {unquote(key): None if value == _NULL else unquote(value) for key, _, value in pairs}


def folder_columns(files: Iterable[str]) -> dict[str, pa.Array]:
    """The columns that the folders of all `files` name, a value for each file: numbers where all are some, else texts."""
    of_files = [folder_values(file) for file in files]
    names = [name for name in of_files[0] if all(name in values for values in of_files)]
    return {name: _as_numbers(pa.array([values[name] for values in of_files], pa.string())) for name in names}


def with_partitions(reader: Reader, names: Iterable[str]) -> Reader:
    """`reader`, and with it those of the columns `names` that no file has and all files' folders name.

    Raises:
        ValueError: only some of the folders name such a column.
    """
    of_files = [folder_values(file) for file in reader.files]
    held = {name for physical in reader.physical for name in physical}
    found = [name for name in names if name not in held and any(name in values for values in of_files)]
    for file, values in zip(reader.files, of_files, strict=True):
        check_present(file, found, values)
    return _Partitioned(reader, {name: [values[name] for values in of_files] for name in found}) if found else reader


class _Partitioned:
    """A reader and, for every column of `texts`, what holds for all rows of a file, for each file."""

    def __init__(self, reader: Reader, texts: dict[str, list[str | None]]):
        self.reader = reader
        self.files, self.pieces, self.skipped, self.form = reader.files, reader.pieces, reader.skipped, reader.form
        self.texts = {name: pa.array(values, pa.string()) for name, values in texts.items()}
        self.numbers = {name: _as_numbers(values) for name, values in self.texts.items()}
        kinds = {name: values.type for name, values in self.numbers.items()}
        self.physical: list[Physical] = [{**physical, **kinds} for physical in reader.physical]

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a column does not hold what is needed."""
        self.reader.check(self._own(columns))
        added = [column for column in columns if column.name in self.texts]
        for column in added:
            if any(other.name == column.name and _is_text(other) != _is_text(column) for other in added):
                raise ValueError(f"Column {column.name!r} of the folders' names is used both as text and as a number.")
            for file, text in zip(self.files, self.texts[column.name], strict=True):
                if not _is_text(column):
                    check_types(file, [column], {column.name: _as_numbers(pa.array([text], pa.string())).type})

    def scan(self, pieces: Sequence[Piece], columns: Sequence[Column]) -> Iterator[tuple[Piece, pa.RecordBatch]]:
        """The batches of `pieces`, in order."""
        added = {column.name: _is_text(column) for column in reversed(columns) if column.name in self.texts}
        for piece, batch in self.reader.scan(pieces, self._own(columns)):
            for name, as_text in added.items():
                value = (self.texts if as_text else self.numbers)[name][piece.file]
                values = pa.repeat(value, batch.num_rows)
                batch = batch.append_column(name, values.dictionary_encode() if as_text else values)
            yield piece, batch

    def _own(self, columns: Sequence[Column]) -> list[Column]:
        return [column for column in columns if column.name not in self.texts]


def _is_text(column: Column) -> bool:
    return column.dtype == "string" and column.width is None


def _as_numbers(texts: pa.Array) -> pa.Array:
    """Integers if all `texts` are some, else numbers if all are, else `texts`."""
    for kind in (pa.int64(), pa.float64()):
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            continue
    return texts

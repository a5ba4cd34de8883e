"""What `read` takes: files, tables of whichever library, and rows."""

import itertools
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pa_parquet
import tensorflow as tf

from tfmtl.data.arrow import SCAN_ROWS, Reader, TableReader, first_rows
from tfmtl.data.chunks import ArrowSource
from tfmtl.data.columns import physical_of
from tfmtl.data.csv_format import CsvFormat
from tfmtl.data.csv_reader import CsvReader
from tfmtl.data.files import find_files
from tfmtl.data.parquet_reader import ParquetReader
from tfmtl.data.partitions import folder_columns, folder_values, with_partitions
from tfmtl.data.skipped import Skipped
from tfmtl.data.tfrecord import TfrecordSource

KNOWN = (
    "a path, a URL, a folder, a glob pattern or a list of these; a dict of columns; a DataFrame of pandas or Polars, a Polars "
    "LazyFrame, an Arrow table or dataset, a HuggingFace Dataset, or whatever else has an Arrow stream; or dicts of rows"
)


def open_source(
    source: Any,
    names: tuple[str, ...],
    optional: tuple[str, ...] = (),
    csv: CsvFormat | None = None,
    storage_options: Mapping[str, Any] | None = None,
    skipped: Skipped | None = None,
) -> ArrowSource | TfrecordSource:
    """Opens what `read` is given.

    Args:
        source: as in `read`.
        names: the columns that will be read.
        optional: those of them that a file may lack.
        csv, storage_options: as in `read`.
        skipped: where to note values that cannot be read; None raises an error of them.

    Raises:
        ValueError: something that cannot be read, in words that say what can.
    """
    if not _means_files(source):
        table = TableReader(type(source).__name__, table_of(source, names.__contains__), names, skipped)
        _fill(table, optional)
        return ArrowSource(table)
    found = find_files(source, storage_options, csv=csv is not None)
    if found.form == "tfrecord":
        if skipped is not None:
            raise ValueError(
                "`on_error='skip'` is for Parquet, CSV and tables: nobody knows where the record after a broken one begins. "
                f"Received: {found.files[0]!r}"
            )
        records = TfrecordSource(found.files, found.store)
        _fill(records, optional)
        return records
    reader: Reader
    if found.form == "parquet":
        reader = ParquetReader(found.files, found.store, names, skipped)
    else:
        reader = CsvReader(found.files, found.store, csv or CsvFormat(), names, skipped)
    of_folders = {name for file in found.files for name in folder_values(file)}
    _fill(reader, (name for name in optional if name not in of_folders))
    return ArrowSource(with_partitions(reader, names))


def _fill(reader: Reader | TfrecordSource, optional: Iterable[str]) -> None:
    """Makes columns that a file lacks columns without a value."""
    for name in optional:
        for physical in reader.physical:
            physical.setdefault(name, pa.null())


def _means_files(source: Any) -> bool:
    if isinstance(source, str) or hasattr(source, "__fspath__"):
        return True
    return isinstance(source, list | tuple | set | frozenset) and not any(map(_is_table_or_row, source))


def _is_table_or_row(item: Any) -> bool:
    return isinstance(item, Mapping) or hasattr(item, "__arrow_c_stream__") or hasattr(item, "iloc")


def head_of(
    source: Any,
    rows: int,
    wanted: Callable[[str], bool],
    csv: CsvFormat | None,
    storage_options: Mapping[str, Any] | None,
) -> pa.Table:
    """The first rows of `source` with its columns that are `wanted`, as Parquet and CSV files and tables hold them."""
    if not _means_files(source):
        return table_of(source, wanted).slice(0, rows)
    found = find_files(source, storage_options, csv=csv is not None)
    if found.form == "tfrecord":
        raise ValueError(
            f"The columns of TFRecord files have no types that tell ids from numbers. Received: {source!r}"
        )
    file = found.files[0]
    if found.form == "parquet":
        parquet = pa_parquet.ParquetFile(found.store.path(file), filesystem=found.store.filesystem)
        head = first_rows(parquet.iter_batches(min(rows, SCAN_ROWS)), rows)
    else:
        head = CsvReader((file,), found.store, csv or CsvFormat(), ()).head(file, rows)
    if not sum(batch.num_rows for batch in head):
        raise ValueError(f"There is no row to read. Received: {file}")
    table = pa.Table.from_batches(head).slice(0, rows)
    named = table.column_names if table.column_names.count("") == 1 else list(filter(None, table.column_names))
    kept = [place for place, name in enumerate(table.column_names) if name in named and wanted(name)]
    physical_of(file, table.schema, filter(wanted, named))
    return table.select(kept)


def named_by_folders(
    source: Any, csv: CsvFormat | None, storage_options: Mapping[str, Any] | None
) -> dict[str, pa.Array]:
    """The columns of `source` that folders' names hold, a value for each file; of what is no files none."""
    if not _means_files(source):
        return {}
    return folder_columns(find_files(source, storage_options, csv=csv is not None).files)


def table_of(source: Any, wanted: Callable[[str], bool]) -> pa.Table:
    """The columns of `source` that are `wanted`, in memory.

    Raises:
        ValueError: what is no table, or a column that is none.
    """
    try:
        return _table_of(source, wanted)
    except pa.ArrowException as error:
        told = ". ".join(map(str, error.args))
        hint = " (make one type of a column of several, as with `astype(str)`)" if "Conversion failed" in told else ""
        raise ValueError(f"{type(source).__name__}: {told}{hint}") from error


def _table_of(source: Any, wanted: Callable[[str], bool]) -> pa.Table:
    if isinstance(source, tf.data.Dataset):
        raise ValueError(
            "A tf.data.Dataset needs no `read`: `dataset.map(preprocessor)` encodes its batches of raw columns. "
            f"Received: source={source!r}"
        )
    if isinstance(source, Mapping):
        _refuse_splits(source)
        return pa.table({name: _column(name, values) for name, values in source.items() if wanted(name)})
    if hasattr(source, "iloc"):
        kept = source.loc[:, [wanted(str(name)) for name in source.columns]]
        twice = list(map(str, kept.columns[kept.columns.duplicated()]))
        if twice:
            raise ValueError(f"DataFrame: several columns are called {twice}, and any of them may be meant.")
        return pa.Table.from_pandas(kept, preserve_index=False)
    if isinstance(source, pa_dataset.Dataset):
        return source.to_table(columns=list(filter(wanted, source.schema.names)))
    if hasattr(source, "collect_schema") and hasattr(source, "collect"):  # lazy frames of Polars
        return pa.table(source.select(list(filter(wanted, source.collect_schema().names()))).collect())
    if hasattr(source, "select_columns") and hasattr(source, "with_format") and hasattr(source, "__len__"):
        kept = source.select_columns(list(filter(wanted, source.column_names)))
        return kept.with_format("arrow")[:]  # of HuggingFace: in the order of its rows, which `data` may not have
    if hasattr(source, "get_columns") and hasattr(
        source, "select"
    ):  # frames of Polars: others may have no type of Arrow's
        return pa.table(source.select(list(filter(wanted, source.columns))))
    if hasattr(source, "__arrow_c_stream__"):
        table = pa.table(source)
        return table.select([place for place, name in enumerate(table.column_names) if wanted(name)])
    if isinstance(source, Iterable) and not isinstance(source, np.ndarray | bytes | str):
        return _rows(iter(source), wanted, type(source).__name__)
    raise _unknown(source)


def _refuse_splits(source: Mapping[str, Any]) -> None:
    """Raises ValueError for several tables by name."""
    if source and all(hasattr(part, "column_names") or hasattr(part, "iloc") for part in source.values()):
        raise ValueError(f"`source` holds several tables: pass one of them. Received: {list(source)}")


def _rows(items: Iterator[Any], wanted: Callable[[str], bool], kind: str) -> pa.Table:
    """One table of rows as dicts, or of tables one after the other."""
    first = next(items, None)
    if first is None:
        raise ValueError(f"{kind}: there is no row to read.")
    if not _is_table_or_row(first):
        raise _unknown(first, of=kind)
    items = itertools.chain([first], items)
    if not isinstance(first, Mapping):
        return pa.concat_tables([table_of(part, wanted) for part in items], promote_options="permissive")
    rows = list(items)
    if not all(isinstance(row, Mapping) for row in rows):
        raise ValueError(f"{kind}: all rows must be dicts.")
    held = filter(wanted, dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in held})


def _unknown(source: Any, of: str = "") -> ValueError:
    within = f"a {of} of " if of else "source="
    return ValueError(f"`source` must be {KNOWN}. Received: {within}{reprlib.repr(source)}")


def _column(name: str, values: Any) -> pa.ChunkedArray:
    """A column of a dict; the rows of an array of two dimensions become lists, tensors of whichever library arrays."""
    if isinstance(values, set | frozenset):
        raise ValueError(f"dict: column {name!r} must have an order. Received: a {type(values).__name__}")
    if isinstance(values, tf.RaggedTensor):
        values = values.to_list()
    try:
        return _arrow(name, values)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        if hasattr(values, "__array__") and not isinstance(values, np.ndarray):
            return _column(name, np.asarray(values))
        raise ValueError(f"dict: column {name!r} must be a list or an array of one type. Received: {error}") from error


def _arrow(name: str, values: Any) -> pa.ChunkedArray:
    if isinstance(values, np.ndarray) and values.ndim == 2:
        values = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.table({name: values}).column(name)

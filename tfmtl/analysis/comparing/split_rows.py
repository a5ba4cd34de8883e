"""One table of rows as three parts, for a comparison from the shell."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from tfmtl.training.held_rows import row_hashes


def read_table(path: str | PathLike[str], columns: Iterable[str]) -> pa.Table:
    """The named columns of a Parquet or CSV file.

    Raises:
        ValueError: a file of another kind, or without one of the columns.
        FileNotFoundError: no such file.
    """
    file, names = Path(path), list(dict.fromkeys(columns))
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}.")
    if file.suffix in (".parquet", ".pq"):
        known = pa_parquet.read_schema(file).names
    elif file.suffix == ".csv" or file.name.endswith(".csv.gz"):
        known = pa_csv.open_csv(file).schema.names
    else:
        raise ValueError(f"{file} must be a Parquet or CSV file: .parquet, .pq, .csv or .csv.gz.")
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f"{file} lacks the columns {missing}. Received: {known}")
    if file.suffix in (".parquet", ".pq"):
        return pa_parquet.read_table(file, columns=names)
    options = pa_csv.ConvertOptions(include_columns=names, strings_can_be_null=True)
    return pa_csv.read_csv(file, convert_options=options)


def split_rows(rows: pa.Table, shares: Sequence[float], *, time: str | None = None) -> list[pa.Table]:
    """Parts of `rows`, as large as `shares` say.

    With `time` the first part is the earliest; rows of one time stay together. Without, chance decides by what a row holds, and
    among equal rows for each of them: the parts are alike, and the same whatever the order of the file.

    Args:
        rows: all of them.
        shares: of the parts; they add up to 1.
        time: a column that can be ordered.

    Raises:
        ValueError: shares that are not positive or do not add up to 1, an unknown column, missing times, or a part that
            gets no row.
    """
    if len(shares) < 2 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"`shares` must be positive and add up to 1. Received: shares={list(shares)}")
    if time is None:
        places = _chances(_columns(rows))
        edges = np.cumsum(shares)[:-1]
    else:
        places, edges = _times(rows, time, shares)
    part = np.searchsorted(edges, places, side="right")
    parts = [rows.filter(pa.array(part == number)) for number in range(len(shares))]
    empty = [number + 1 for number, each in enumerate(parts) if not each.num_rows]
    if empty:
        raise ValueError(
            f"{rows.num_rows} rows do not make {len(shares)} parts of the shares {list(shares)}: no row for part {empty[0]}."
        )
    return parts


def _chances(columns: dict[str, np.ndarray]) -> np.ndarray:
    """A number in [0, 1] for each row, from what it holds and how many equal rows lie before it."""
    hashes = row_hashes(columns)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    counted = np.empty(len(order), "int64")
    counted[order] = np.arange(len(order)) - np.flatnonzero(first)[np.cumsum(first) - 1]
    return row_hashes({"row": hashes, "before": counted}).astype("float64") / 2.0**64


def _times(rows: pa.Table, time: str, shares: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Which of the distinct times each row has, counted from the earliest, and at which of them a new part begins."""
    if time not in rows.column_names:
        raise ValueError(f"There is no column of times {time!r}. Received: {rows.column_names}")
    column = rows[time].combine_chunks()
    if column.null_count:
        raise ValueError(f"Every row needs a time. Received: {column.null_count} rows without {time!r}")
    distinct = pc.take(pc.unique(column), pc.array_sort_indices(pc.unique(column)))
    places = pc.index_in(column, value_set=distinct).to_numpy(zero_copy_only=False)
    reached = np.cumsum(np.bincount(places)) / len(places)
    return places, 1 + np.searchsorted(reached, np.cumsum(shares)[:-1] - 1e-9)


def _columns(rows: pa.Table) -> dict[str, np.ndarray]:
    """Columns of one value a row, as NumPy has them."""
    columns = {}
    for name in rows.column_names:
        column = rows[name]
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_binary(column.type):
            columns[name] = column.cast(pa.binary()).fill_null(b"").to_numpy()
        elif pa.types.is_boolean(column.type) or pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            columns[name] = column.cast(pa.float64(), safe=False).to_numpy()
    if not columns:
        raise ValueError(f"Rows need a column of text or numbers to be split by. Received: {rows.column_names}")
    return columns

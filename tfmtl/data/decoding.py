"""The types that columns are decoded to, and casts that say which value does not fit."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types

from tfmtl.data.columns import Column, Physical, is_bytes, item_type
from tfmtl.data.skipped import Skipped

_AS_THEY_ARE = (pa.float32(), pa.float64())
"""Types of numbers, besides integers, that need no cast: NumPy knows them, and their missing values become NaN."""


def common_schema(columns: Sequence[Column], physical: Sequence[Physical]) -> pa.Schema:
    """The types to hand on: one for all files, wide enough to lose nothing.

    Text becomes codes and a dictionary, of bytes where a file does not say that it is UTF-8; ids become int64; other numbers
    stay what they are where they are so everywhere.
    """
    fields: dict[str, pa.DataType] = {}
    for column in columns:
        found = {item_type(types_of[column.name]) for types_of in physical}
        if column.dtype == "string":
            text = pa.binary() if any(map(is_bytes, found)) else pa.string()
            item = text if column.width else pa.dictionary(pa.int32(), text)
        elif column.dtype == "int64":
            item = pa.int64()
        else:
            same = len(found) == 1 and all(types.is_integer(kind) or kind in _AS_THEY_ARE for kind in found)
            item = found.pop() if same else pa.float64()
        fields.setdefault(column.name, pa.list_(item) if column.width else item)  # features come before labels
    return pa.schema(fields)


def own_schema(schema: pa.Schema, physical: Physical) -> pa.Schema:
    """`schema` with its types as one file holds them: a cast within Arrow's scanner fails without a column and a row.

    Text is codes and a dictionary there too, if it is of any length.
    """
    fields = []
    for field in schema:
        found = item_type(physical[field.name])
        if types.is_dictionary(field.type) and not types.is_null(found) and not types.is_fixed_size_binary(found):
            found = pa.dictionary(pa.int32(), pa.binary() if is_bytes(found) else pa.string())
        fields.append(field.with_type(pa.list_(found) if types.is_list(field.type) else found))
    return pa.schema(fields)


def cast(
    rows: pa.Table | pa.RecordBatch,
    schema: pa.Schema,
    file: str,
    first_row: int,
    skipped: Skipped | None = None,
    as_written: pa.Table | pa.RecordBatch | None = None,
) -> pa.Table | pa.RecordBatch:
    """The columns of `schema`, in its types; ValueError that names file, row and column of a value that does not fit.

    With `skipped` such a value is noted there and becomes a missing one. Messages quote it from `as_written`, or else from `rows`.
    """
    arrays = []
    for field in schema:
        values = rows.column(field.name)
        try:
            arrays.append(_cast(values, field.type))
        except pa.ArrowInvalid as error:
            row = bisect_left(range(len(values)), True, key=lambda last: not _fits(values, last + 1, field.type))
            found: Any = (rows if as_written is None else as_written).column(field.name)[row].as_py()
            message = (
                f"{file}: row {first_row + row}: column {field.name!r} must {_needed(field.type)}. "
                f"Received: {found.decode(errors='backslashreplace') if isinstance(found, bytes) else found}"
            )
            if skipped is None:
                raise ValueError(message) from error
            wrong = _misfits(values, 0, len(values), field.type)
            skipped.note(len(wrong), message)
            kept = np.arange(len(values)).astype(object)
            kept[wrong] = None
            arrays.append(_cast(values.take(pa.array(kept, pa.int64())), field.type))
    return type(rows).from_arrays(arrays, schema=schema)


def _needed(kind: pa.DataType) -> str:
    text = types.is_dictionary(kind) or types.is_string(item_type(kind))
    hint = ", or be text" if item_type(kind) == pa.int64() else ""
    return "be text in UTF-8 (a CSV file's `encoding` stands in `CsvFormat`)" if text else f"fit into {kind}{hint}"


def _cast(values: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if values.type == kind:
        return values
    if types.is_dictionary(kind):
        if types.is_dictionary(values.type):
            of_bytes = is_bytes(values.type.value_type)
            values = values.cast(pa.dictionary(pa.int32(), pa.binary() if of_bytes else pa.string()))
            if values.type == kind:
                return values
            values = values.cast(values.type.value_type)
        return values.cast(kind.value_type).dictionary_encode()  # Arrow makes no dictionary of a view
    return values.cast(kind, safe=not types.is_floating(item_type(kind)))  # large integers may lose digits as numbers


def _misfits(values: pa.Array | pa.ChunkedArray, start: int, stop: int, kind: pa.DataType) -> list[int]:
    """The places from `start` to `stop` whose values cannot be cast."""
    part = values.take(pa.array(np.arange(start, stop)))
    if _fits(part, len(part), kind):
        return []
    if stop - start == 1:
        return [start]
    middle = (start + stop) // 2
    return [*_misfits(values, start, middle, kind), *_misfits(values, middle, stop, kind)]


def _fits(values: pa.Array | pa.ChunkedArray, rows: int, kind: pa.DataType) -> bool:
    """Whether the first `rows` values can be cast."""
    try:
        _cast(values.take(pa.array(np.arange(rows))), kind)  # of lists that are only sliced all items are cast
    except pa.ArrowInvalid:
        return False
    return True

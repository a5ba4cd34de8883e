"""Which columns a reader takes, and what they must hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa
from pyarrow import types

from tfmtl.spec import Categorical, Numeric, Schema

Dtype: TypeAlias = Literal["string", "int64", "float32", "float64"]
Physical: TypeAlias = Mapping[str, pa.DataType]
"""The columns of a file and their types."""


@dataclass(frozen=True)
class Column:
    """One column of what a reader hands on.

    Args:
        key: its name there: the column's own, or `label:{column}` where labels are made of it.
        name: its name in the file.
        dtype: what it becomes. Labels are float64, or string: exact, whatever the column held.
        width: entries of a list; None for a scalar.
        sequence: the history that a list of events belongs to. Its last `width` events are kept. Without it every row
            must hold exactly `width` numbers.
    """

    key: str
    name: str
    dtype: Dtype
    width: int | None = None
    sequence: str | None = None


def label_key(column: str) -> str:
    """The key under which labels find `column`."""
    return f"label:{column}"


def plan(schema: Schema, physical: Physical, extra: Iterable[str], labels: bool) -> tuple[Column, ...]:
    """The columns to read, given those that the first file holds (`physical`)."""
    columns: list[Column] = []
    for feature in schema.features:
        if isinstance(feature, Categorical):
            columns.append(Column(feature.name, feature.name, feature.dtype or _id_dtype(physical[feature.name])))
        elif isinstance(feature, Numeric):
            columns.append(Column(feature.name, feature.name, "float32", feature.size if feature.size > 1 else None))
        else:
            for name, field in zip(feature.columns, feature.fields, strict=True):
                dtype = field.dtype or _id_dtype(physical[name])
                columns.append(Column(name, name, dtype, feature.length, sequence=feature.name))
    for name in dict.fromkeys(extra):
        if name not in schema.feature_columns:
            # Ids with gaps come as floats, and float32 would take neighbours above 2^24 for one.
            number: Dtype = "int64" if types.is_integer(item_type(physical[name])) else "float64"
            columns.append(Column(name, name, "string" if _is_text(item_type(physical[name])) else number))
    for name in schema.label_columns if labels else ():
        columns.append(Column(label_key(name), name, _label_dtype(schema, name)))
    return tuple(columns)


def wanted(schema: Schema, extra: Iterable[str], labels: bool) -> tuple[str, ...]:
    """The names of the columns that must be there."""
    return tuple(dict.fromkeys((*schema.feature_columns, *extra, *(schema.label_columns if labels else ()))))


def check_present(file: str, names: Iterable[str], present: Iterable[str]) -> None:
    """Raises ValueError if `file` lacks a column."""
    present = list(present)
    missing = [name for name in names if name not in present]
    if missing:
        raise ValueError(f"{file}: columns {missing} are missing. Received: {present}")


def check_types(file: str, columns: Iterable[Column], physical: Physical) -> None:
    """Raises ValueError if a column of `file` cannot become what it is needed as."""
    for column in columns:
        found = physical[column.name]
        if types.is_null(found):
            continue
        fits = _is_list(found) == (column.width is not None) and _fits(column.dtype, item_type(found))
        if not fits:
            hint = ""
            if column.dtype == "int64" and types.is_floating(found):
                hint = " (pandas turns integers with missing values into floats; its type 'Int64' does not)"
            raise ValueError(f"{file}: column {column.name!r} must hold {_expected(column)}. Received: {found}{hint}")


def _fits(dtype: Dtype, found: pa.DataType) -> bool:
    if types.is_null(found):  # a slice whose lists are all empty
        return True
    if dtype == "string":
        return _is_text(found)
    if dtype == "int64":
        return types.is_integer(found)
    return types.is_integer(found) or types.is_floating(found) or types.is_boolean(found) or types.is_decimal(found)


def _expected(column: Column) -> str:
    items = {"string": "strings", "int64": "integers"}.get(column.dtype, "numbers")
    if column.key != column.name and column.dtype == "float64":
        items = "numbers (labels of text are given as `(column, value)`)"
    return items if column.width is None else f"lists of {items}"


def _is_list(found: pa.DataType) -> bool:
    return types.is_list(found) or types.is_large_list(found) or types.is_fixed_size_list(found)


def _is_text(found: pa.DataType) -> bool:
    if types.is_dictionary(found):
        found = found.value_type
    return types.is_string(found) or types.is_large_string(found) or types.is_string_view(found)


def item_type(found: pa.DataType) -> pa.DataType:
    """The type of a list's items, or of a scalar; an integer for a dictionary of integers."""
    if _is_list(found):
        found = found.value_type
    return found.value_type if types.is_dictionary(found) else found


def _id_dtype(found: pa.DataType) -> Literal["string", "int64"]:
    return "int64" if types.is_integer(item_type(found)) else "string"


def _label_dtype(schema: Schema, column: str) -> Literal["string", "float64"]:
    """Text if tasks compare `column` with text."""
    sources = [source for task in schema.tasks for source in (task.label or task.name, *task.conditions)]
    compared = [source if isinstance(source, tuple) else (source, None) for source in sources]
    uses = {isinstance(value, str) for name, value in compared if name == column}
    if len(uses) > 1:
        raise ValueError(f"Tasks use column {column!r} both as text and as a number. Received: {sources}")
    return "string" if uses.pop() else "float64"

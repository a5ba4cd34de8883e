"""Which columns a reader takes, and what they must hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa
from pyarrow import types

from tfmtl.schema import Categorical, Numeric, Schema, TargetRates
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.schema.label_source import question

Dtype: TypeAlias = Literal["string", "int64", "float32", "float64"]
Physical: TypeAlias = Mapping[str, pa.DataType]
"""The columns of a file and their types."""

NO_INTEGER = -(2**63)
"""Stands for a missing integer where -1 may be a value."""


@dataclass(frozen=True)
class Column:
    """One column of what a reader hands on.

    Args:
        key: its name there: the column's own, or `label:{column}` where labels are made of it.
        name: its name in the file.
        dtype: what it becomes. Labels are whatever compares exactly with what the column holds.
        width: entries of a list; None for a scalar.
        sequence: the history that a list of events belongs to. Its last `width` events are kept. Without it every row
            must hold exactly `width` numbers.
        guessed: whether `dtype` comes from the files: the schema leaves it open.
    """

    key: str
    name: str
    dtype: Dtype
    width: int | None = None
    sequence: str | None = None
    guessed: bool = False

    @property
    def missing_integer(self) -> int:
        """What stands for a missing integer: the missing id, in labels a number that tasks cannot ask for."""
        return MISSING_ID["int64"] if self.key == self.name else NO_INTEGER


def label_key(column: str) -> str:
    """The key under which labels find `column`."""
    return f"label:{column}"


def plan(schema: Schema, physical: Sequence[Physical], extra: Iterable[str], labels: bool) -> tuple[Column, ...]:
    """The columns to read, given those that each file holds (`physical`)."""
    columns: list[Column] = []
    for feature in schema.features:
        if isinstance(feature, Categorical):
            columns.append(_ids(feature.name, feature, physical))
        elif isinstance(feature, Numeric):
            columns.append(Column(feature.name, feature.name, "float32", feature.size if feature.size > 1 else None))
        elif isinstance(feature, TargetRates):
            continue
        else:
            for name, field in zip(feature.columns, feature.fields, strict=True):
                columns.append(_ids(name, field, physical, feature.length, feature.name))
    for feature in schema.features:
        if isinstance(feature, TargetRates) and feature.column not in {column.name for column in columns}:
            columns.append(_ids(feature.column, feature, physical))
    for name in dict.fromkeys(extra):
        if name not in schema.feature_columns:
            # Ids with gaps come as floats, and float32 would take neighbours above 2^24 for one.
            columns.append(Column(name, name, _dtype(kinds(name, physical)) or "float64"))
    read_as = {column.name: column.dtype for column in columns}
    for name in schema.label_columns if labels else ():
        dtype = _label_dtype(schema, name, kinds(name, physical))
        # Where a feature takes a column for numbers or text, the file is parsed as such.
        exact = dtype != "int64" or read_as.get(name, dtype) == dtype
        columns.append(Column(label_key(name), name, dtype if exact else "float64"))
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
            message = f"{file}: column {column.name!r} must hold {_expected(column, found)}. Received: {found}"
            raise ValueError(message + _hint(column, item_type(found)))


def _fits(dtype: Dtype, found: pa.DataType) -> bool:
    if types.is_null(found):  # a slice whose lists are all empty
        return True
    if dtype == "string":
        return _is_text(found)
    if dtype == "int64":
        return types.is_integer(found)
    return types.is_integer(found) or types.is_floating(found) or types.is_boolean(found) or types.is_decimal(found)


def _expected(column: Column, found: pa.DataType) -> str:
    items = {"string": "strings", "int64": "integers"}.get(column.dtype, "numbers")
    if column.guessed and not (types.is_integer(item_type(found)) or _is_text(item_type(found))):
        items = "strings or integers"
    if column.key != column.name and column.dtype != "string":
        items = f"numbers (text is compared with text: `({column.name!r}, '1')`)"
    return items if column.width is None else f"lists of {items}"


def _hint(column: Column, found: pa.DataType) -> str:
    if types.is_floating(found) and (column.dtype == "int64" or column.guessed):
        return " (pandas turns integers with missing values into floats; its type 'Int64' does not)"
    if types.is_integer(found) and column.dtype == "string" and column.key == column.name and not column.guessed:
        return ' (for integers give the feature `dtype="int64"`)'
    return ""


def kinds(column: str, physical: Iterable[Physical]) -> set[pa.DataType]:
    """The types that files hold `column` in, without that of a file in which all its values are missing."""
    return {found for types_of in physical if not types.is_null(found := item_type(types_of[column]))}


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


def _ids(
    name: str,
    field: Categorical | TargetRates,
    physical: Sequence[Physical],
    width: int | None = None,
    sequence: str | None = None,
) -> Column:
    guessed = _dtype(kinds(name, physical)) or "string"
    return Column(name, name, field.dtype or guessed, width, sequence, guessed=field.dtype is None)


def _dtype(found: Iterable[pa.DataType]) -> Literal["string", "int64"] | None:
    """Text if any file holds text, else integers if any holds some: other files are refused, in whatever order."""
    found = list(found)
    if any(map(_is_text, found)):
        return "string"
    return "int64" if any(map(types.is_integer, found)) else None


def _label_dtype(schema: Schema, column: str, found: set[pa.DataType]) -> Dtype:
    """Text if tasks compare `column` with text, else what tells all its numbers apart and knows those of tasks."""
    sources = [source for task in schema.tasks for source in (task.label or task.name, *task.conditions)]
    values = [asked.value for asked in map(question, sources) if asked.column == column]
    if len({isinstance(value, str) for value in values}) > 1:
        raise ValueError(f"Tasks use column {column!r} both as text and as a number. Received: {sources}")
    if isinstance(values[0], str):
        return "string"
    if found == {pa.float32()}:
        return "float32"
    integers = bool(found) and all(types.is_integer(kind) and kind != pa.uint64() for kind in found)
    asked = all(isinstance(value, int) and abs(value) < -NO_INTEGER for value in values)
    return "int64" if integers and asked else "float64"

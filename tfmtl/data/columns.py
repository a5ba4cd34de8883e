"""Which columns a reader takes, and what they must hold."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa
from pyarrow import types

from tfmtl.data.hints import hint_of_names
from tfmtl.schema import Categorical, Numeric, Schema, TargetRates
from tfmtl.schema import Sequence as Histories
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.schema.label_source import question
from tfmtl.typing import IdDtype

Dtype: TypeAlias = Literal["string", "int64", "float32", "float64"]
Items: TypeAlias = IdDtype | Literal["float32"]
Physical: TypeAlias = dict[str, pa.DataType]
"""The columns of a file and their types."""

NO_INTEGER = -(2**63)
"""Stands for a missing integer where -1 may be a value."""


@dataclass(frozen=True)
class Column:
    """One column of what a reader hands on.

    Args:
        key: its name there, or `label:{column}` where labels are made of it.
        name: its name in the file.
        dtype: what it becomes. Labels are whatever compares exactly with what the column holds.
        width: entries of a list; None for a scalar.
        sequence: the history that a column of events belongs to. Of a list the last `width` events are kept; without a
            history every row must hold exactly `width` numbers.
        separator: what stands between several items in one text.
        items: what these items are: ids, or weights.
        weight_separator: what stands between an id and its weight within an item.
        size: how many numbers each text holds, unless it holds none; None where other columns say so.
        guessed: whether `dtype` comes from the files: the schema leaves it open.
        label: whether labels are made of it.
    """

    key: str
    name: str
    dtype: Dtype
    width: int | None = None
    sequence: str | None = None
    separator: str | None = None
    items: Items | None = None
    weight_separator: str | None = None
    size: int | None = None
    guessed: bool = False
    label: bool = False

    @property
    def weighs(self) -> bool:
        """Whether it holds the weights of a history's events: they make no event, and a row may have none."""
        return self.sequence is not None and "float32" in (self.dtype, self.items)

    @property
    def may_hold_none(self) -> bool:
        """Whether a row may hold no item where it should hold several: its weights or its vector are missing."""
        return self.weighs or (self.sequence is None and (self.width or self.size) is not None)

    @property
    def missing_integer(self) -> int:
        """What stands for a missing integer: the missing id, in labels a number that tasks cannot ask for."""
        return NO_INTEGER if self.label else MISSING_ID["int64"]


def label_key(column: str) -> str:
    """The key under which labels find `column`."""
    return f"label:{column}"


def plan(schema: Schema, physical: Sequence[Physical], extra: Iterable[str], labels: bool) -> tuple[Column, ...]:
    """The columns to read, given those that each file holds (`physical`)."""
    columns: list[Column] = []
    for feature in schema.features:
        if isinstance(feature, Categorical):
            columns.append(_ids(feature.name, feature.sources[0], feature, physical))
        elif isinstance(feature, Numeric):
            columns.append(numbers_column(feature))
        elif isinstance(feature, Histories):
            columns += _events(feature, physical)
    for feature in schema.features:
        if isinstance(feature, TargetRates) and feature.column not in {column.key for column in columns}:
            columns.append(_ids(feature.column, feature.column, feature, physical))
    read_as: dict[str, Dtype] = {column.name: column.dtype for column in reversed(columns)}
    for name in dict.fromkeys(extra):
        if name not in schema.feature_columns:
            # Ids with gaps come as floats, and float32 would take neighbours above 2^24 for one.
            guess: Dtype = _dtype(kinds(name, physical)) or "float64"
            columns.append(Column(name, name, _exact(guess, read_as.get(name, guess))))
            read_as.setdefault(name, columns[-1].dtype)
    for name in schema.label_columns if labels else ():
        dtype = _label_dtype(schema, name, kinds(name, physical))
        columns.append(Column(label_key(name), name, _exact(dtype, read_as.get(name, dtype)), label=True))
    return tuple(columns)


def _exact(dtype: Dtype, read_as: Dtype) -> Dtype:
    """`dtype`, but for integers of a column that a feature takes for numbers or text: the file is parsed as such."""
    return "float64" if dtype == "int64" and read_as != dtype else dtype


def wanted(schema: Schema, extra: Iterable[str], labels: bool) -> tuple[str, ...]:
    """The names of the columns that must be there, as files have them."""
    beside = (name for name in extra if name not in schema.feature_columns)
    return tuple(dict.fromkeys((*schema.sources.values(), *beside, *(schema.label_columns if labels else ()))))


def physical_of(file: str, schema: pa.Schema, names: Iterable[str]) -> Physical:
    """The columns of `file` and their types; ValueError if two have the name of one that is to be read."""
    count = Counter(schema.names)
    twice = [name for name in names if count[name] > 1]
    if twice:
        raise ValueError(f"{file}: several columns are called {twice}, and any of them may be meant.")
    return dict(zip(schema.names, schema.types, strict=True))


def check_present(file: str, names: Iterable[str], present: Iterable[str]) -> None:
    """Raises ValueError if `file` lacks a column."""
    present = list(present)
    missing = [name for name in names if name not in present]
    if missing:
        raise ValueError(f"{file}: columns {missing} are missing. Received: {present}{hint_of_names(missing, present)}")


def check_types(file: str, columns: Iterable[Column], physical: Physical) -> None:
    """Raises ValueError if a column of `file` cannot become what it is needed as."""
    for column in columns:
        found = physical[column.name]
        if types.is_null(found):
            continue
        fits = is_list(found) == (column.width is not None) and _fits(column.dtype, item_type(found))
        if not fits:
            message = f"{file}: column {column.name!r} must hold {_expected(column, found)}. Received: {found}"
            raise ValueError(message + _hint(column, found))


def _fits(dtype: Dtype, found: pa.DataType) -> bool:
    if types.is_null(found):  # a slice whose lists are all empty
        return True
    if dtype == "string":
        return is_text(found)
    if dtype == "int64":
        return types.is_integer(found) or types.is_boolean(found) or _is_whole(found)
    return types.is_integer(found) or types.is_floating(found) or types.is_boolean(found) or types.is_decimal(found)


def _is_whole(found: pa.DataType) -> bool:
    """Whether these are decimals without digits after the point, as databases hold large ids."""
    return types.is_decimal(found) and found.scale == 0


def _expected(column: Column, found: pa.DataType) -> str:
    items = {"string": "strings", "int64": "integers"}.get(column.dtype, "numbers")
    if column.guessed and not (types.is_integer(item_type(found)) or is_text(item_type(found))):
        items = "strings or integers"
    if column.label and column.dtype != "string":
        items = f"numbers (text is compared with text: `({column.name!r}, '1')`)"
    if column.separator is not None:
        items = f"texts of {'numbers' if column.items == 'float32' else 'ids'} with {column.separator!r} between them"
    return items if column.width is None else f"lists of {items}"


def _hint(column: Column, found: pa.DataType) -> str:
    if types.is_temporal(item_type(found)) and column.label:
        return " (make of a time what is to be predicted: 1 where there is one, or days as a number)"
    if types.is_temporal(item_type(found)):
        return (
            " (make of a time what the model should see: an hour or a weekday as ids, days or seconds as numbers, "
            "for example with pyarrow.compute.hour or pandas' `.dt.hour`)"
        )
    if column.label:
        return ""
    if column.separator is not None:
        return " (lists need no `separator`)" if is_list(found) else " (cast them to text)"
    if is_text(item_type(found)) and column.dtype != "int64" and column.dtype != "string" and column.sequence is None:
        several = "" if column.width is None else "; where a text holds several, give the feature its `separator`"
        return f" (cast text to numbers, for example with pandas.to_numeric{several})"
    if column.dtype == "float32" and column.sequence is None:
        size = is_list(found) and column.width is None and not is_list(found.value_type)
        return " (a list of numbers is a `Numeric` of their `size`)" if size else ""
    if is_list(found) or (is_text(found) and column.width is not None):
        return " (several ids a row are a `Sequence`; where a text holds them, give it the `separator`)"
    found = item_type(found)
    if types.is_decimal(found) and (column.dtype in ("int64", "string") or column.guessed):
        return " (cast decimals to int64, or to text, whose digits are compared one by one)"
    if types.is_floating(found) and (column.dtype == "int64" or column.guessed):
        return " (pandas turns integers with missing values into floats; its type 'Int64' does not)"
    whole = types.is_integer(found) or types.is_boolean(found) or _is_whole(found)
    if whole and column.dtype == "string" and not column.guessed:
        return ' (for integers and booleans give the feature `dtype="int64"`)'
    return ""


def kinds(column: str, physical: Iterable[Physical]) -> set[pa.DataType]:
    """The types that files hold `column` in, without that of a file in which all its values are missing."""
    return {found for types_of in physical if not types.is_null(found := item_type(types_of[column]))}


def is_list(found: pa.DataType) -> bool:
    """Whether a row holds several items."""
    return types.is_list(found) or types.is_large_list(found) or types.is_fixed_size_list(found)


def is_text(found: pa.DataType) -> bool:
    """Whether these are texts, or codes of texts."""
    if types.is_dictionary(found):
        found = found.value_type
    return types.is_string(found) or types.is_large_string(found) or types.is_string_view(found) or is_bytes(found)


def is_bytes(found: pa.DataType) -> bool:
    """Whether these are texts without the mark that they are UTF-8, as Impala, Hive and old versions of Spark write them."""
    return (
        types.is_binary(found)
        or types.is_large_binary(found)
        or types.is_fixed_size_binary(found)
        or types.is_binary_view(found)
    )


def item_type(found: pa.DataType) -> pa.DataType:
    """The type of a list's items, or of a scalar; an integer for a dictionary of integers."""
    if is_list(found):
        found = found.value_type
    return found.value_type if types.is_dictionary(found) else found


def _ids(
    key: str,
    name: str,
    field: Categorical | TargetRates,
    physical: Sequence[Physical],
    width: int | None = None,
    sequence: str | None = None,
) -> Column:
    guessed = _dtype(kinds(name, physical)) or "string"
    return Column(key, name, field.dtype or guessed, width, sequence, guessed=field.dtype is None)


def numbers_column(feature: Numeric) -> Column:
    """The column of a number, or of a vector in a list or a text."""
    name, source = feature.name, feature.sources[0]
    if feature.separator is None:
        return Column(name, source, "float32", feature.size if feature.size > 1 else None)
    return Column(name, source, "string", separator=feature.separator, items="float32", size=feature.size)


def _events(feature: Histories, physical: Sequence[Physical]) -> Iterator[Column]:
    """The columns of a history: lists, or texts that hold several ids."""
    for key, name, field in zip(feature.id_columns, feature.sources, feature.fields, strict=False):
        if feature.separator is None:
            yield _ids(key, name, field, physical, feature.length, feature.name)
        else:
            yield _texts(feature, key, name, field.dtype or "string")
    if feature.weights is not None and feature.separator is None:
        yield Column(feature.weights, feature.weights, "float32", feature.length, feature.name)
    elif feature.weights is not None:
        yield _texts(feature, feature.weights, feature.weights, "float32")


def _texts(feature: Histories, key: str, name: str, items: Items) -> Column:
    """A column of a history that holds all events of a row in one text."""
    return Column(
        key,
        name,
        "string",
        sequence=feature.name,
        separator=feature.separator,
        items=items,
        weight_separator=feature.weight_separator,
    )


def _dtype(found: Iterable[pa.DataType]) -> Literal["string", "int64"] | None:
    """Text if any file holds text, else integers if any holds some: other files are refused, in whatever order."""
    found = list(found)
    if any(map(is_text, found)):
        return "string"
    whole = (types.is_integer(kind) or types.is_boolean(kind) or _is_whole(kind) for kind in found)
    return "int64" if any(whole) else None


def _label_dtype(schema: Schema, column: str, found: set[pa.DataType]) -> Dtype:
    """Text if tasks compare `column` with text, else what tells all its numbers apart and knows those of tasks."""
    sources = [source for task in schema.tasks for source in (task.label or task.name, *task.conditions)]
    by_value = {task.columns[0]: task.classes for task in schema.tasks if task.classes is not None}
    values = [asked.value for asked in map(question, sources) if asked.column == column and column not in by_value]
    values += by_value.get(column, ())
    if not values:  # it tells groups apart
        return _dtype(found) or "float64"
    if len({isinstance(value, str) for value in values}) > 1:
        raise ValueError(f"Tasks use column {column!r} both as text and as a number. Received: {sources}")
    if isinstance(values[0], str):
        return "string"
    if found == {pa.float32()}:
        return "float32"
    integers = bool(found) and all(types.is_integer(kind) and kind != pa.uint64() for kind in found)
    asked = all(isinstance(value, int) and abs(value) < -NO_INTEGER for value in values)
    return "int64" if integers and asked else "float64"

"""A first schema of a table, to be edited by hand."""

import keyword
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from tfmtl.checks import check_count
from tfmtl.data.columns import is_list, is_text
from tfmtl.data.csv_format import CsvFormat
from tfmtl.data.sources import head_of, named_by_folders
from tfmtl.schema import Categorical, Feature, Numeric, Schema, Sequence, Task

_FEW = 100
"""Integers of at most so many values are codes; of more they are numbers, unless their name says otherwise."""
_IDS = re.compile(r"(?i)(^|[^a-z])(id|ids|code|key|type|zip|category|cat)$|[a-z](Id|ID|Code|Key|Type)$")
_SEPARATORS, _PAIR = "|;", ":"
_NUMBER = r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*"
_LONGEST = 50


def infer_schema(
    source: Any,
    tasks: Iterable[Task],
    *,
    leave_out: Iterable[str] = (),
    dim: int = 16,
    rows: int = 100_000,
    csv: CsvFormat | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Schema:
    """Proposes a feature for every column of `source` but those of the labels, from its type and its first rows.

    | column | feature |
    |---|---|
    | text; integers called like ids, or of at most 100 values | `Categorical(vocabulary="adapt")` |
    | booleans | `Categorical(num_ids=2)` |
    | other integers, floats, decimals | `Numeric(transform="buckets")` |
    | lists of integers or text; texts most of which hold `\\|` or `;`, empty ones aside | `Sequence` |
    | texts whose items all end in `:` and a number | `Sequence(weight_separator=":")` |
    | lists or texts of numbers with a point, in every row as many as a sequence has ids, or none | its `weights` |
    | lists of floats, all of one length | `Numeric(size=...)` |

    Columns that folders' names hold (`country=NO/part-0.parquet`) are proposed too, but for dates. Times, structures, columns of
    one value alone and lists of numbers that fit no sequence are left out, with a warning that names them. A name that no
    feature can have is replaced, and the column stands in `column`. The proposal cannot know which columns are known only after
    the fact: leave those out, or the model learns from what it will not have. `print(schema.to_json())` shows it without
    defaults, `Schema.from_json` reads what was edited.

    Args:
        source, csv, storage_options: as in `read`.
        tasks: what is to be predicted. The columns of labels and sample spaces become no features.
        leave_out: more columns that become none.
        dim: width of the embeddings.
        rows: how many rows are looked at.

    Raises:
        ValueError: a column of `leave_out` or of a task that is not there, or no column that a feature can read.

    Example:

    >>> from tfmtl.data import infer_schema
    >>> from tfmtl.schema import Task
    >>> table = {"user id": [7, 8, 9], "age": [31.5, 40.0, 22.0], "genres": ["a|b", "b|c", "a|c"], "click": [1, 0, 1]}
    >>> [(feature.name, type(feature).__name__) for feature in infer_schema(table, [Task("click")]).features]
    [('user_id', 'Categorical'), ('age', 'Numeric'), ('genres', 'Sequence')]
    """
    table = head_of(source, check_count("rows", rows), csv, storage_options)
    tasks, left_out = tuple(tasks), {leave_out} if isinstance(leave_out, str) else set(leave_out)
    labels = {column for task in tasks for column in task.columns}
    columns = {column: table[column].combine_chunks() for column in table.column_names}
    of_folders = named_by_folders(source, storage_options)
    columns |= {column: values for column, values in of_folders.items() if column not in columns}
    absent = sorted((labels | left_out) - set(columns))
    if absent:
        raise ValueError(f"Columns {absent} are missing. Received: {list(columns)}")
    features: list[Feature] = []
    unread: list[str] = []
    numbers: list[str] = []
    for column, values in columns.items():
        if column not in labels | left_out:
            name = _name(column, {feature.name for feature in features} | {task.name for task in tasks})
            feature = (
                None if column not in table.column_names and _are_dates(values) else _feature(name, column, values, dim)
            )
            if feature is not None:
                features.append(feature)
            elif _counts_of_numbers(values) is not None:
                numbers.append(column)
            else:
                unread.append(f"{column} ({values.type})")
    unread += [
        f"{column} ({columns[column].type})" for column in numbers if not _taken_as_weights(column, features, columns)
    ]
    if unread:
        warnings.warn(
            f"No feature is proposed for columns of times, structures, one value or numbers of no sequence: {unread}",
            stacklevel=2,
        )
    return Schema(features, tasks)


def _name(column: str, taken: set[str]) -> str:
    """`column` as a name of a feature that is not `taken`."""
    plain = re.sub(r"\W+", "_", column, flags=re.ASCII).strip("_") or "column"
    if not plain[0].isalpha() or keyword.iskeyword(plain) or plain == "self":
        plain = f"column_{plain}"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name


def _feature(name: str, column: str, values: pa.Array, dim: int) -> Feature | None:
    """A feature for `values`; None where there is none."""
    renamed: dict[str, Any] = {} if name == column else {"column": column}
    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    if types.is_null(kind) or len(values) == values.null_count:
        return None
    if is_list(kind):
        return _of_lists(name, renamed, values, dim)
    if not is_text(kind) and not types.is_boolean(kind) and not _is_number(kind):
        return None
    values = values.cast(kind) if types.is_dictionary(values.type) else values
    distinct = pc.count_distinct(values).as_py()
    if distinct < 2:
        return None
    if types.is_boolean(kind):
        return Categorical(name, num_ids=2, dim=dim, **renamed)
    if is_text(kind):
        separator, weight_separator = _separators(values)
        if separator:
            if _counts_of_numbers(values) is not None:
                return None
            length = pc.max(pc.count_substring(values.cast(pa.string()), separator)).as_py() + 1
            options = {} if weight_separator is None else {"weight_separator": weight_separator}
            return _sequence(name, renamed, length, dim, "string", separator=separator, **options)
        return Categorical(name, vocabulary="adapt", dtype="string", dim=dim, **renamed)
    if types.is_integer(kind) and (distinct <= _FEW or _IDS.search(column)):
        return Categorical(name, vocabulary="adapt", dtype="int64", dim=dim, **renamed)
    return Numeric(name, transform="buckets", dim=dim, **renamed)


def _of_lists(name: str, renamed: dict[str, Any], values: pa.Array, dim: int) -> Feature | None:
    """A history of ids, or a vector of numbers."""
    item = values.type.value_type
    item = item.value_type if types.is_dictionary(item) else item
    lengths = pc.list_value_length(values).drop_null().to_numpy(zero_copy_only=False)
    if is_text(item) or types.is_integer(item):
        length = int(np.quantile(lengths, 0.95, method="higher")) if len(lengths) else 1
        return _sequence(name, renamed, length, dim, "string" if is_text(item) else "int64")
    sizes = set(lengths.tolist()) - {0}
    if _is_number(item) and len(sizes) == 1:
        return Numeric(name, size=sizes.pop(), dim=dim, **renamed)
    return None


def _sequence(name: str, renamed: dict[str, Any], length: int, dim: int, dtype: Any, **options: Any) -> Sequence:
    field = Categorical(name, vocabulary="adapt", dtype=dtype, dim=dim, **renamed)
    return Sequence(name, (field,), prefix="", length=min(max(length, 1), _LONGEST), **options)


def _separators(texts: pa.Array) -> tuple[str | None, str | None]:
    """What stands between items, of the usual separators, and between an id and its weight.

    Most texts hold it; or some, and all items have a weight or are numbers with a point.
    """
    plain = _filled(texts)
    for separator in _SEPARATORS:
        share = pc.mean(pc.match_substring(plain, separator)).as_py() or 0.0
        items = pc.split_pattern(plain, separator).flatten()
        paired = share > 0 and pc.all(pc.match_substring_regex(items, rf"^.+{_PAIR}{_NUMBER}$")).as_py()
        if share > 0.5 or paired or (share > 0 and _are_numbers(items)):
            return separator, _PAIR if paired else None
    return None, None


def _filled(texts: pa.Array) -> pa.Array:
    """Those that are not empty."""
    plain = texts.cast(pa.string()).drop_null()
    return plain.filter(pc.not_equal(plain, ""))


def _are_numbers(items: pa.Array) -> bool:
    """Whether all of them are numbers, and one has a point; integers are ids."""
    numbers = pc.all(pc.match_substring_regex(items, f"^(?:{_NUMBER})?$")).as_py()
    return numbers and pc.any(pc.match_substring(items, ".")).as_py()


def _counts_of_numbers(values: pa.Array) -> np.ndarray | None:
    """How many numbers each row lists, in a list or a text; None if the column holds something else."""
    if is_list(values.type):
        return _counts(values, None) if types.is_floating(values.type.value_type) else None
    separator = _separators(values)[0] if is_text(values.type) else None
    if separator is None or not _are_numbers(pc.split_pattern(_filled(values), separator).flatten()):
        return None
    return _counts(values, separator)


def _counts(values: pa.Array, separator: str | None) -> np.ndarray:
    """How many items each row has."""
    if separator is None:
        return pc.list_value_length(values).fill_null(0).to_numpy()
    plain = values.cast(pa.string()).fill_null("")
    return pc.if_else(pc.equal(plain, ""), 0, pc.add(pc.count_substring(plain, separator), 1)).to_numpy()


def _taken_as_weights(column: str, features: list[Feature], columns: dict[str, pa.Array]) -> bool:
    """Makes the numbers of `column` the weights of the first of `features` that they fit; False where they fit none."""
    counts, as_texts = _counts_of_numbers(columns[column]), is_text(columns[column].type)
    for place, feature in enumerate(features):
        if not isinstance(feature, Sequence) or feature.encoded_weights or _name(column, set()) != column:
            continue
        items = _counts(columns[feature.sources[0]], feature.separator)
        if (feature.separator is not None) == as_texts and np.all((counts == items) | (counts == 0)):
            features[place] = replace(feature, weights=column)
            return True
    return False


def _are_dates(values: pa.Array) -> bool:
    try:
        return is_text(values.type) and values.cast(pa.date32()) is not None
    except pa.ArrowInvalid:
        return False


def _is_number(kind: pa.DataType) -> bool:
    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)

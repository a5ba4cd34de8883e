"""A first schema of a table, to be edited by hand."""

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from tfmtl.checks import check_count
from tfmtl.data.columns import Column, is_list, is_text
from tfmtl.data.csv_format import CsvFormat
from tfmtl.data.doubtful_columns import CALLED_LIKE_IDS, WRITTEN, plain_values, warn_of_columns
from tfmtl.data.hints import hint_of_names
from tfmtl.data.sources import head_of, named_by_folders
from tfmtl.data.splitting import items_of, number_pattern
from tfmtl.schema import Categorical, Feature, Numeric, Schema, Sequence, Task

_FEW = 100
"""Integers of at most so many values are codes; of more they are numbers, unless their name says otherwise."""
_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""What pandas calls the numbers of rows, where it writes them beside the columns."""
_SEPARATORS, _IN_BRACKETS, _PAIR = "|;", ", ", ":"
_OF_NUMBERS = f"{_SEPARATORS}{_IN_BRACKETS}"
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
    | texts of integers in brackets (`[3, 7]`), or with commas, three or more in one of them | `Sequence` |
    | texts whose items all end in `:` and a number | `Sequence(weight_separator=":")` |
    | lists of floats, texts of numbers with a point, in every row as many as a sequence has ids, or none | its `weights` |
    | other lists of floats, and texts of numbers, all of one length (`0.1\\|0.2`, `[0.1, 0.2]`) | `Numeric(size=...)` |

    Columns that folders' names hold (`country=NO/part-0.parquet`) are proposed too, but for dates. Times, structures, columns of
    one value alone and lists of numbers of several lengths are left out, with a warning that names them; another names texts
    that look like numbers, such as those with decimal commas, which become ids. A name that no
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
        ValueError: a column of `leave_out` or of a task that is not there, no row, or no column that a feature can read.

    Example:

    >>> from tfmtl.data import infer_schema
    >>> from tfmtl.schema import Task
    >>> table = {"user id": [7, 8, 9], "age": [31.5, 40.0, 22.0], "genres": ["a|b", "b|c", "a|c"], "click": [1, 0, 1]}
    >>> [(feature.name, type(feature).__name__) for feature in infer_schema(table, [Task("click")]).features]
    [('user_id', 'Categorical'), ('age', 'Numeric'), ('genres', 'Sequence')]
    """
    tasks, left_out = tuple(tasks), {leave_out} if isinstance(leave_out, str) else set(leave_out)
    labels = {column for task in tasks for column in task.columns}
    seen: set[str] = set()

    def wanted(name: str) -> bool:
        seen.add(name)
        return name in labels or name not in left_out

    table = head_of(source, check_count("rows", rows), wanted, csv, storage_options)
    columns = {column: plain_values(table[column].combine_chunks()) for column in table.column_names}
    of_folders = {
        column: values
        for column, values in named_by_folders(source, csv, storage_options).items()
        if column not in columns and wanted(column)
    }
    absent = sorted((labels | left_out) - seen)
    if absent:
        raise ValueError(f"Columns {absent} are missing. Received: {sorted(seen)}{hint_of_names(absent, sorted(seen))}")
    if not table.num_rows:
        raise ValueError(f"What a column is follows from its values, and there is no row. Received: {sorted(seen)}")
    given = {column: values for column, values in (columns | of_folders).items() if column not in labels}
    undated = {column for column, values in given.items() if column not in of_folders or not _are_dates(values)}
    features = _proposed(given, undated, {task.name for task in tasks}, dim, CsvFormat() if csv is None else csv)
    warn_of_columns(given, features)
    return Schema([feature for feature in features.values() if feature is not None], tasks)


def _proposed(
    columns: Mapping[str, pa.Array], possible: set[str], taken: set[str], dim: int, form: CsvFormat
) -> dict[str, Feature | None]:
    """A feature for each of `columns`, in their order; None where there is none.

    Args:
        columns: their first rows.
        possible: those that may become one.
        taken: names that features cannot have.
        dim: width of the embeddings.
        form: how numbers in texts are written.
    """
    features: dict[str, Feature | None] = {}
    names: dict[str, str] = {}
    numbers: dict[str, _Numbers] = {}
    for column, values in columns.items():
        features[column], names[column] = None, _name(column, {*taken, *names.values()})
        if column in possible and not _INDEX.fullmatch(column):
            listed = _numbers(values, form)
            if listed is None:
                features[column] = _feature(names[column], column, values, dim, form)
            else:
                numbers[column] = listed
    for column, listed in numbers.items():
        if not _taken_as_weights(column, listed, features, columns):
            features[column] = _vector(names[column], column, listed, dim)
    return features


def _name(column: str, taken: set[str]) -> str:
    """`column` as a name of a feature that is not `taken`."""
    plain = re.sub(r"\W+", "_", column, flags=re.ASCII).strip("_") or "column"
    if not plain[0].isalpha() or keyword.iskeyword(plain) or plain == "self":
        plain = f"column_{plain}"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name


def _feature(name: str, column: str, values: pa.Array, dim: int, form: CsvFormat) -> Feature | None:
    """A feature for `values`; None where there is none."""
    renamed: dict[str, Any] = {} if name == column else {"column": column}
    kind = values.type
    if types.is_null(kind) or len(values) == values.null_count:
        return None
    if is_list(kind):
        return _of_lists(name, renamed, values, dim)
    if not is_text(kind) and not types.is_boolean(kind) and not _is_number(kind):
        return None
    distinct = pc.count_distinct(values).as_py()
    if distinct < 2:
        return None
    if types.is_boolean(kind):
        return Categorical(name, num_ids=2, dim=dim, **renamed)
    if is_text(kind):
        separator, weight_separator = _separators(values, form)
        if separator:
            length = pc.max(pc.count_substring(values, separator)).as_py() + 1
            options = {} if weight_separator is None else {"weight_separator": weight_separator}
            return _sequence(name, renamed, length, dim, "string", separator=separator, **options)
        for mark in _IN_BRACKETS:
            if listed := _in_texts(values, mark, "int64", form):
                return _sequence(name, renamed, int(listed.counts.max()), dim, "int64", separator=mark)
        return Categorical(name, vocabulary="adapt", dtype="string", dim=dim, **renamed)
    if types.is_integer(kind) and (distinct <= _FEW or CALLED_LIKE_IDS.search(column)):
        return Categorical(name, vocabulary="adapt", dtype="int64", dim=dim, **renamed)
    return Numeric(name, transform="buckets", dim=dim, **renamed)


def _of_lists(name: str, renamed: dict[str, Any], values: pa.Array, dim: int) -> Feature | None:
    """A history of ids; None where the items are none."""
    item = values.type.value_type
    item = item.value_type if types.is_dictionary(item) else item
    if not is_text(item) and not types.is_integer(item):
        return None
    lengths = pc.list_value_length(values).drop_null().to_numpy(zero_copy_only=False)
    length = int(np.quantile(lengths, 0.95, method="higher")) if len(lengths) else 1
    return _sequence(name, renamed, length, dim, "string" if is_text(item) else "int64")


def _vector(name: str, column: str, listed: "_Numbers", dim: int) -> Feature | None:
    """Numbers that are equally many in every row that has some; None where they are not, or where there is one."""
    sizes = set(listed.counts.tolist()) - {0}
    if len(sizes) != 1 or sizes == {1}:
        return None
    renamed: dict[str, Any] = {} if name == column else {"column": column}
    return Numeric(name, size=sizes.pop(), separator=listed.separator, dim=dim, **renamed)


def _sequence(name: str, renamed: dict[str, Any], length: int, dim: int, dtype: Any, **options: Any) -> Sequence:
    field = Categorical(name, vocabulary="adapt", dtype=dtype, dim=dim, **renamed)
    return Sequence(name, (field,), prefix="", length=min(max(length, 1), _LONGEST), **options)


def _separators(texts: pa.Array, form: CsvFormat) -> tuple[str | None, str | None]:
    """What stands between items, of the usual separators, and between an id and its weight.

    Most texts hold it; or some, and all items have a weight.
    """
    plain = _filled(texts)
    for separator in _SEPARATORS:
        share = pc.mean(pc.match_substring(plain, separator)).as_py() or 0.0
        items = pc.split_pattern(plain, separator).flatten()
        pair = rf"^.+{_PAIR}{number_pattern(form.decimal_point)}$"
        paired = share > 0 and pc.all(pc.match_substring_regex(items, pair)).as_py()
        if share > 0.5 or paired:
            return separator, _PAIR if paired else None
    return None, None


def _filled(texts: pa.Array) -> pa.Array:
    """Those that are not empty."""
    plain = texts.drop_null()
    return plain.filter(pc.not_equal(plain, ""))


class _Numbers(NamedTuple):
    """Columns of several numbers a row.

    Args:
        separator: what stands between them in texts; None of lists.
        counts: how many each row has.
    """

    separator: str | None
    counts: np.ndarray


def _numbers(values: pa.Array, form: CsvFormat) -> _Numbers | None:
    """What `values` list, if these are numbers of which one has a point; integers are ids."""
    if is_list(values.type):
        item = values.type.value_type
        if types.is_floating(item) or types.is_decimal(item):
            return _Numbers(None, pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False))
    if not is_text(values.type):
        return None
    return next((found for mark in _OF_NUMBERS if (found := _in_texts(values, mark, "float32", form))), None)


def _in_texts(values: pa.Array, separator: str, items: Literal["int64", "float32"], form: CsvFormat) -> _Numbers | None:
    """What texts list, if all of them list numbers with `separator` between, and it can be nothing else."""
    rows = values.fill_null("").dictionary_encode()
    words = rows.dictionary.to_numpy(zero_copy_only=False)
    column = Column("", "", "string", separator=separator, items=items, size=None if items == "int64" else 0)
    point = form.decimal_point
    if separator == point or items_of(words[:_FEW], column, form).wrong.any():
        return None
    of_words = items_of(words, column, form)
    if of_words.wrong.any() or of_words.counts.max(initial=0) < 2:
        return None
    given, dot = pa.array(words[words != ""]), re.escape(point)
    # With a point in each number where blanks separate them: 10.30 11 and 01.02 2023 are times and dates.
    plain = rf"\S*{dot}\S*(?: +\S*{dot}\S*)+\s*$" if separator == " " else rf".*{dot}.*{separator}."
    listed = rf"^\s*(?:[\[({{]|{plain})"
    sure = separator in _SEPARATORS or pc.all(pc.match_substring_regex(given, listed)).as_py()
    if sure and separator == "," and items == "float32":  # 1.234,50 is one number
        sure = not pc.all(pc.match_substring_regex(given, WRITTEN)).as_py()
    if not sure and separator == "," and items == "int64":  # 1,234 and 1,234,567 may be one number each
        several = pa.array(words[of_words.counts > 2], pa.string())
        sure = pc.any(pc.invert(pc.match_substring_regex(several, WRITTEN))).as_py()
    if not sure:
        return None
    if items == "float32" and not pc.any(pc.match_substring(given, point)).as_py():
        return None
    return _Numbers(separator, of_words.counts[rows.indices.to_numpy()])


def _counts(values: pa.Array, separator: str | None) -> np.ndarray:
    """How many ids each row has."""
    if separator is None:
        return pc.list_value_length(values).fill_null(0).to_numpy()
    plain = values.fill_null("")
    return pc.if_else(pc.equal(plain, ""), 0, pc.add(pc.count_substring(plain, separator), 1)).to_numpy()


def _taken_as_weights(
    column: str, listed: _Numbers, features: dict[str, Feature | None], columns: Mapping[str, pa.Array]
) -> bool:
    """Makes the numbers of `column` the weights of the first of `features` that they fit; False where they fit none."""
    for name, feature in features.items():
        if not isinstance(feature, Sequence) or feature.encoded_weights or _name(column, set()) != column:
            continue
        items = _counts(columns[feature.sources[0]], feature.separator)
        if feature.separator == listed.separator and np.all((listed.counts == items) | (listed.counts == 0)):
            features[name] = replace(feature, weights=column)
            return True
    return False


def _are_dates(values: pa.Array) -> bool:
    try:
        return is_text(values.type) and values.cast(pa.date32()) is not None
    except pa.ArrowInvalid:
        return False


def _is_number(kind: pa.DataType) -> bool:
    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)

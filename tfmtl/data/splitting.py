"""Several items in one text: ids (`action|drama`), weights (`0.3|0.7`), both (`action:0.3|drama:0.7`), or a vector (`[0.1, 0.2]`).

The same rules hold for files, which are checked in Arrow and in TensorFlow, and for requests, which are not checked.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from tfmtl.data.columns import Column
from tfmtl.data.csv_format import CsvFormat
from tfmtl.schema import Numeric, Sequence
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.typing import IdDtype, Tensor

NO_ID = -(2**63)
"""What stands for a text that is no integer: an id that no table knows."""

_LARGEST = str(2**63 - 1)
_SMALLER = [rf"{_LARGEST[:i]}[0-{int(_LARGEST[i]) - 1}]\d{{{18 - i}}}" for i in range(19) if _LARGEST[i] != "0"]
_INTEGER = rf"\s*[+-]?0*(?:\d{{1,18}}|{'|'.join(_SMALLER)}|{_LARGEST})\s*"
"""Digits that an int64 holds."""
_NOTHING = r"\s*"
_NONE = r"\s*(?i:nan|null|none)?\s*"
"""What programs write for no number, and for no vector."""
_BRACKETS = r"^\s*[\[({]\s*(\C*?)\s*[\])}]\s*$"
_SPACE = r"\s+"


def number_pattern(decimal_point: str = ".") -> str:
    """What a number in a text looks like."""
    point = re.escape(decimal_point)
    return rf"\s*[+-]?(?:\d+{point}?\d*|{point}\d+)(?:[eE][+-]?\d+)?\s*"


_NUMBER = number_pattern()


def split_ids(feature: Sequence, texts: Mapping[str, Tensor]) -> dict[str, tf.RaggedTensor]:
    """The ids `(B, L')` of every field of a history whose columns hold texts.

    The missing id stands where there is nothing between two separators, and `NO_ID` where ids are integers and a text is none.
    """
    found = {}
    for column, field in zip(feature.id_columns, feature.fields, strict=True):
        pieces = tf.strings.split(_bare(texts[column], field.dtype == "int64"), feature.separator)
        if feature.weight_separator is not None:
            pieces = pieces.with_flat_values(_parted(pieces.flat_values, feature.weight_separator)[0])
        found[column] = pieces.with_flat_values(_ids(pieces.flat_values, field.dtype or "string"))
    return found


def split_weights(feature: Sequence, texts: Mapping[str, Tensor]) -> tf.RaggedTensor:
    """The weights `(B, L')` of such a history, NaN where there is no number; none for a text without any."""
    column = texts[feature.weights or feature.id_columns[0]]
    if feature.weight_separator is not None:
        pieces = tf.strings.split(_bare(column, feature.fields[0].dtype == "int64"), feature.separator)
        return pieces.with_flat_values(_numbers(_parted(pieces.flat_values, feature.weight_separator)[1]))
    column = _bare(column)
    pieces = tf.strings.split(column, feature.separator)
    given = tf.gather(~_holds_none(column), pieces.value_rowids())
    return tf.ragged.boolean_mask(pieces.with_flat_values(_numbers(pieces.flat_values)), pieces.with_flat_values(given))


def split_numbers(feature: Numeric, texts: Tensor) -> Tensor:
    """The vectors `(B, size)` that texts hold, NaN where there is no number, and all of it where there are more or fewer."""
    pieces = tf.strings.split(_packed(_bare(texts), feature.separator), feature.separator)
    numbers = pieces.with_flat_values(_numbers(pieces.flat_values))
    vectors = numbers.to_tensor(math.nan, shape=(None, feature.size))
    return tf.where((numbers.row_lengths() == feature.size)[:, None], vectors, math.nan)


def _bare(texts: Tensor, of_numbers: bool = True) -> Tensor:
    """`texts` without brackets around the whole; as they are where ids are texts."""
    return tf.strings.regex_replace(texts, _BRACKETS, r"\1") if of_numbers else texts


def _packed(texts: Tensor, separator: str | None) -> Tensor:
    """`texts` with one blank for any white space, where that separates the numbers of a vector."""
    return tf.strings.regex_replace(tf.strings.strip(texts), _SPACE, " ") if separator == " " else texts


def _holds_none(texts: Tensor) -> Tensor:
    return tf.strings.regex_full_match(texts, _NONE)


def _parted(pieces: Tensor, separator: str) -> tuple[Tensor, Tensor]:
    """What stands before the last `separator` of each text, and behind it; nothing where it has none."""
    between = re.escape(separator)
    weighed = tf.strings.regex_full_match(pieces, rf"\C*{between}\C*")
    before = tf.strings.regex_replace(pieces, rf"^(\C*){between}\C*$", r"\1")
    return before, tf.where(weighed, tf.strings.regex_replace(pieces, rf"^\C*{between}", ""), "")


def _ids(texts: Tensor, dtype: IdDtype) -> Tensor:
    if dtype == "string":
        return texts
    whole, empty = (tf.strings.regex_full_match(texts, pattern) for pattern in (_INTEGER, _NOTHING))
    numbers = tf.strings.to_number(tf.where(whole, texts, "0"), tf.int64)
    missing, unknown = tf.constant(MISSING_ID["int64"], tf.int64), tf.constant(NO_ID, tf.int64)
    return tf.where(whole, numbers, tf.where(empty, missing, unknown))


def _numbers(texts: Tensor) -> Tensor:
    number = tf.strings.regex_full_match(texts, _NUMBER)
    return tf.where(number, tf.strings.to_number(tf.where(number, texts, "0"), tf.float32), math.nan)


def holds_anything(column: Column) -> bool:
    """Whether any text will do between two separators."""
    return column.items == "string" and column.weight_separator is None


def items_in_words(column: Column, form: CsvFormat | None = None) -> str:
    """What a text of `column` must hold."""
    items = {"int64": "integers", "float32": "numbers"}.get(column.items or "", "ids")
    if column.weight_separator is not None:
        items += f", alone or followed by {column.weight_separator!r} and a number,"
    point = f", and a decimal {form.decimal_point!r}" if form is not None and form.decimal_point != "." else ""
    return f"{items} with {column.separator!r} between them{point}"


class Items(NamedTuple):
    """What texts hold.

    Args:
        texts: themselves, with decimal points, and nothing where a file's own word for no number stood.
        counts: how many items each holds.
        wrong: whether one of these is not what it should be.
    """

    texts: np.ndarray
    counts: np.ndarray
    wrong: np.ndarray


def items_of(texts: np.ndarray, column: Column, form: CsvFormat | None = None) -> Items:
    """What these texts of `column` hold, `(N,)` each. A text without a weight, or a number of a vector, holds none.

    Args:
        texts: `(N,)`, text or bytes.
        column: says what they should hold.
        form: of the CSV file that they are from.
    """
    given = pa.array(texts, None if len(texts) else pa.string())
    bare = given if column.items == "string" else pc.replace_substring_regex(given, _BRACKETS, r"\1")
    if column.size is not None and column.separator == " ":
        bare = pc.replace_substring_regex(pc.replace_substring_regex(bare, r"^\s+|\s+$", ""), _SPACE, " ")
    pieces = pc.split_pattern(bare, column.separator)
    counts, items = pc.list_value_length(pieces).to_numpy(), pieces.flatten()
    if form is not None and column.items != "string":
        items = _without_missing(items, column, form)
    wrong = np.zeros(len(texts), bool)
    if not holds_anything(column):
        patterns = _patterns(column, "." if form is None else form.decimal_point)
        right, *exempt = (pc.match_substring_regex(items, f"^(?:{each})$") for each in patterns)
        for weighed in exempt:
            right = pc.or_(right, pc.invert(weighed))
        wrong[pc.list_parent_indices(pieces).filter(pc.invert(right)).to_numpy()] = True
    if form is not None and not holds_anything(column):
        items = _with_points(items, column, form)
        joined = pc.binary_join(pa.ListArray.from_arrays(pieces.offsets, items), column.separator)
        texts = np.where(wrong, texts, joined.to_numpy(zero_copy_only=False))
        bare = joined
    if column.may_hold_none:
        none = pc.match_substring_regex(bare, f"^(?:{_NONE})$").to_numpy(zero_copy_only=False)
        counts = np.where(none, 0, counts)
        if form is not None:
            texts = np.where(none, "", texts)
    return Items(texts, counts, wrong)


def _without_missing(items: Any, column: Column, form: CsvFormat) -> Any:
    """`items` with NaN, or nothing for an integer, where a word of the file's stands for no number."""
    missing = pc.is_in(pc.utf8_trim_whitespace(items), pa.array([word for word in form.null_values() if word]))
    return pc.if_else(missing, "NaN" if column.items == "float32" else "", items)


def _with_points(items: Any, column: Column, form: CsvFormat) -> Any:
    """`items`, which were found to be right, with a decimal point in their numbers."""
    if form.decimal_point == ".":
        return items
    if column.weight_separator is None:
        return pc.replace_substring(items, form.decimal_point, ".") if column.items == "float32" else items
    between, point = re.escape(column.weight_separator), re.escape(form.decimal_point)
    number = rf"^(\C*{between}\s*[+-]?\d*){point}(\d*(?:[eE][+-]?\d+)?\s*)$"
    return pc.replace_substring_regex(items, number, r"\1.\2")


def items_of_tensor(texts: Tensor, column: Column) -> tuple[Tensor, Tensor]:
    """How many items each text holds and whether one is wrong, as `items_of`, in TensorFlow's graph."""
    texts = _bare(texts, column.items != "string")
    texts = texts if column.size is None else _packed(texts, column.separator)
    pieces = tf.strings.split(texts, column.separator)
    counts = pieces.row_lengths()
    if column.may_hold_none:
        counts = tf.where(_holds_none(texts), tf.zeros_like(counts), counts)
    right, *exempt = (tf.strings.regex_full_match(pieces.flat_values, each) for each in _patterns(column))
    for weighed in exempt:
        right |= ~weighed
    return counts, tf.reduce_any(~pieces.with_flat_values(right), axis=1)


def _patterns(column: Column, decimal_point: str = ".") -> tuple[str, ...]:
    """What an item of `column` must match, or else, if there is a second one, must not match."""
    weight = rf"{number_pattern(decimal_point)}|{_NONE}"
    item = {"int64": f"{_INTEGER}|{_NOTHING}", "float32": weight}.get(column.items or "string", r"\C*")
    if column.weight_separator is None:
        return (item,)
    between = re.escape(column.weight_separator)
    if column.items == "string":
        return rf"\C*{between}(?:{weight})", rf"\C*{between}\C*"
    return (f"(?:{item})(?:{between}(?:{weight}))?",)

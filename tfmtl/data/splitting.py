"""Several ids in one text, as in `action|drama`, and their weights, as in `0.3|0.7` or `action:0.3|drama:0.7`."""

import math
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from tfmtl.data.columns import Column
from tfmtl.schema import Sequence
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.typing import IdDtype, Tensor

NO_ID = -(2**63)
"""What stands for a text that is no integer: an id that no table knows."""

_LARGEST = str(2**63 - 1)
_SMALLER = [rf"{_LARGEST[:i]}[0-{int(_LARGEST[i]) - 1}]\d{{{18 - i}}}" for i in range(19) if _LARGEST[i] != "0"]
_INTEGER = rf"\s*[+-]?0*(?:\d{{1,18}}|{'|'.join(_SMALLER)}|{_LARGEST})\s*"
"""Digits that an int64 holds."""
_NUMBER = r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*"
_NOTHING = r"\s*"
_ITEMS = {
    "int64": f"{_INTEGER}|{_NOTHING}",
    "float32": rf"{_NUMBER}|{_NOTHING}|\s*[nN][aA][nN]\s*",  # NaN is what other programs write for no number
    "string": r"\C*",  # any bytes
}
"""What may stand between two separators."""


def split_ids(feature: Sequence, texts: Mapping[str, Tensor]) -> dict[str, tf.RaggedTensor]:
    """The ids `(B, L')` of every field of a history whose columns hold texts.

    The missing id stands where there is nothing between two separators, and `NO_ID` where ids are integers and a text is none.
    """
    found = {}
    for column, field in zip(feature.id_columns, feature.fields, strict=True):
        pieces = tf.strings.split(texts[column], feature.separator)
        if feature.weight_separator is not None:
            pieces = pieces.with_flat_values(_parted(pieces.flat_values, feature.weight_separator)[0])
        found[column] = pieces.with_flat_values(_ids(pieces.flat_values, field.dtype or "string"))
    return found


def split_weights(feature: Sequence, texts: Mapping[str, Tensor]) -> tf.RaggedTensor:
    """The weights `(B, L')` of such a history, NaN where there is no number; none for a column's empty text."""
    column = texts[feature.weights or feature.id_columns[0]]
    pieces = tf.strings.split(column, feature.separator)
    if feature.weight_separator is not None:
        return pieces.with_flat_values(_numbers(_parted(pieces.flat_values, feature.weight_separator)[1]))
    given = tf.gather(column != "", pieces.value_rowids())
    return tf.ragged.boolean_mask(pieces.with_flat_values(_numbers(pieces.flat_values)), pieces.with_flat_values(given))


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


def items_in_words(column: Column) -> str:
    """What a text of `column` must hold."""
    items = {"int64": "integers", "float32": "numbers"}.get(column.items or "", "ids")
    if column.weight_separator is not None:
        items += f", alone or followed by {column.weight_separator!r} and a number,"
    return f"{items} with {column.separator!r} between them"


def items_of(texts: np.ndarray, column: Column) -> tuple[np.ndarray, np.ndarray]:
    """How many items each of these texts of `column` holds, and whether one of them is not what it should be, `(N,)` both.

    An empty text of weights holds none.
    """
    given = pa.array(texts)
    pieces = pc.split_pattern(given, column.separator)
    counts = pc.list_value_length(pieces).to_numpy()
    if column.weighs:
        counts = np.where(pc.binary_length(given).to_numpy() == 0, 0, counts)
    wrong = np.zeros(len(texts), bool)
    if not holds_anything(column):
        right, *exempt = (pc.match_substring_regex(pieces.flatten(), f"^(?:{each})$") for each in _patterns(column))
        for weighed in exempt:
            right = pc.or_(right, pc.invert(weighed))
        wrong[pc.list_parent_indices(pieces).filter(pc.invert(right)).to_numpy()] = True
    return counts, wrong


def items_of_tensor(texts: Tensor, column: Column) -> tuple[Tensor, Tensor]:
    """As `items_of`, in TensorFlow's graph."""
    pieces = tf.strings.split(texts, column.separator)
    counts = pieces.row_lengths()
    if column.weighs:
        counts = tf.where(texts == "", tf.zeros_like(counts), counts)
    right, *exempt = (tf.strings.regex_full_match(pieces.flat_values, each) for each in _patterns(column))
    for weighed in exempt:
        right |= ~weighed
    return counts, tf.reduce_any(~pieces.with_flat_values(right), axis=1)


def _patterns(column: Column) -> tuple[str, ...]:
    """What an item of `column` must match, or else, if there is a second one, must not match."""
    item, weight = _ITEMS[column.items or "string"], _ITEMS["float32"]
    if column.weight_separator is None:
        return (item,)
    between = re.escape(column.weight_separator)
    if column.items == "string":
        return rf"\C*{between}(?:{weight})", rf"\C*{between}\C*"
    return (f"(?:{item})(?:{between}(?:{weight}))?",)

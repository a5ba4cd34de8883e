"""Several ids in one text, as in `action|drama`."""

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from tfmtl.schema import Sequence
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.typing import IdDtype, Tensor

NO_ID = -(2**63)
"""What stands for a text that is no integer: an id that no table knows."""

_LARGEST = str(2**63 - 1)
_SMALLER = [rf"{_LARGEST[:i]}[0-{int(_LARGEST[i]) - 1}]\d{{{18 - i}}}" for i in range(19) if _LARGEST[i] != "0"]
_INTEGER = rf"\s*[+-]?0*(?:\d{{1,18}}|{'|'.join(_SMALLER)}|{_LARGEST})\s*"
"""Digits that an int64 holds."""


def split_ids(texts: Tensor, separator: str, dtype: IdDtype) -> tf.RaggedTensor:
    """The ids of every text, `(B,)` -> `(B, L')`; the missing id where there is nothing between two separators.

    What is no integer, where ids are integers, becomes `NO_ID`.
    """
    pieces = tf.strings.split(texts, separator)
    if dtype == "string":
        return pieces
    found = pieces.flat_values
    whole, empty = (tf.strings.regex_full_match(found, pattern) for pattern in (_INTEGER, r"\s*"))
    numbers = tf.strings.to_number(tf.where(whole, found, "0"), tf.int64)
    missing, unknown = tf.constant(MISSING_ID["int64"], tf.int64), tf.constant(NO_ID, tf.int64)
    return pieces.with_flat_values(tf.where(whole, numbers, tf.where(empty, missing, unknown)))


def split_fields(feature: Sequence, texts: Mapping[str, Tensor]) -> dict[str, tf.RaggedTensor]:
    """The ids of every field of a history whose columns hold texts."""
    separator = feature.separator or ""
    return {
        column: split_ids(texts[column], separator, field.dtype or "string")
        for column, field in zip(feature.id_columns, feature.fields, strict=True)
    }


def first_without_integers(texts: np.ndarray, separator: str) -> int | None:
    """The place of the first text that holds something else than integers and separators; None if there is none."""
    between = re.escape(separator)
    item = rf"(?:{_INTEGER}|\s*)"
    fits = pc.match_substring_regex(pa.array(texts), rf"^{item}(?:{between}{item})*$")
    wrong = np.flatnonzero(~fits.to_numpy(zero_copy_only=False))
    return int(wrong[0]) if len(wrong) else None

"""Warnings of a proposal: columns that it leaves out, and columns that may be meant for something else."""

import re
import warnings
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from tfmtl.data.columns import is_text
from tfmtl.schema import Categorical, Feature, Sequence

CALLED_LIKE_IDS = re.compile(r"(?i)(^|[^a-z])(id|ids|code|key|type|zip|category|cat)$|[a-z](Id|ID|Code|Key|Type)$")
_NUMBER = r"(?:\d+(?:[.,]\d+)?|\d{1,3}(?:[., ']\d{3})+(?:[.,]\d+)?)"
WRITTEN = rf"^\s*[+-]?(?:[$€£¥]\s*)?{_NUMBER}(?:\s*[%$€£¥])?\s*$"
"""Numbers as people write them: with a decimal point or comma, separators of thousands, a currency or a percent sign."""
_SIGNS = r"[.,'%$€£¥]"
_LISTED = r"""^\s*\[\s*['"].*['"]\s*\]\s*$"""
"""Lists of texts as Python and JSON write them."""


def warn_of_columns(columns: Mapping[str, pa.Array], features: Mapping[str, Feature | None]) -> None:
    """Warns of columns without a feature, and of features that may be mistaken.

    Args:
        columns: their first rows.
        features: the proposal for each.
    """
    weights = {feature.encoded_weights for feature in features.values() if isinstance(feature, Sequence)}
    unread = [
        f"{name or repr(name)} ({columns[name].type})"
        for name, of in features.items()
        if of is None and name not in weights
    ]
    if unread:
        _warn(
            f"No feature is proposed for columns of times, structures, one value, rows' numbers or numbers of several lengths: {unread}"
        )
    ids = [name for name, of in features.items() if isinstance(of, Categorical) and is_text(columns[name].type)]
    texts = {name: text_of(columns[name]) for name in ids}
    written = [name for name, text in texts.items() if _all(text, WRITTEN) and _any(text, _SIGNS)]
    if written:
        _warn(
            f"Columns {written} look like numbers in texts, and are proposed as ids. Cast them to numbers, without separators of "
            "thousands, or say how a CSV file writes them, `csv=CsvFormat(decimal_point=',')`; lists of ids are a `Sequence` with "
            "a `separator`."
        )
    listed = [name for name, text in texts.items() if _all(text, _LISTED)]
    if listed:
        _warn(
            f"Columns {listed} look like lists that Python or JSON wrote as texts, and are proposed as ids. Make lists of them "
            "(`ast.literal_eval`, `json.loads`), or texts with a separator."
        )
    floats = [name for name in features if CALLED_LIKE_IDS.search(name) and _are_whole(columns[name])]
    if floats:
        _warn(
            f"Columns {floats} are called like ids and hold floats, which are no ids and may have lost digits. pandas turns integers "
            "with missing values into floats; its type 'Int64' does not. In a CSV file `Categorical(..., dtype=\"string\")` takes ids "
            "as they are written."
        )


def plain_values(values: pa.Array) -> pa.Array:
    """`values` without a dictionary, and text as strings, with a mark where its bytes are no UTF-8."""
    if types.is_dictionary(values.type):
        values = (
            values.dictionary.take(values.indices)
            if not is_text(values.type)
            else _strings(values.dictionary).take(values.indices)
        )
    return _strings(values) if is_text(values.type) else values


def _strings(texts: pa.Array) -> pa.Array:
    try:
        return texts.cast(pa.string())
    except pa.ArrowInvalid:
        plain = [
            None if text is None else text.decode(errors="replace") for text in texts.cast(pa.binary()).to_pylist()
        ]
        return pa.array(plain, pa.string())


def text_of(values: pa.Array) -> pa.Array:
    """The different texts that are not empty."""
    plain = pc.unique(values.drop_null())
    return plain.filter(pc.not_equal(plain, ""))


def _all(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _any(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def _are_whole(values: pa.Array) -> bool:
    """Whether these are floats without digits after the point, one at least."""
    numbers = values.drop_null().to_numpy(zero_copy_only=False) if types.is_floating(values.type) else np.array([])
    numbers = numbers[np.isfinite(numbers)]
    return bool(len(numbers)) and bool((numbers == np.floor(numbers)).all())


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)

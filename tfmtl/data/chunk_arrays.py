"""The rows of a chunk as arrays: lists padded, text as codes and words, and what cannot be read refused or left out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from tfmtl.data.arrow import Reader
from tfmtl.data.columns import Column
from tfmtl.data.hints import hint_of_commas
from tfmtl.data.labels import FILE, ROW
from tfmtl.data.splitting import holds_anything, items_in_words, items_of
from tfmtl.schema.categorical import MISSING_ID


def words_of(column: Column) -> str:
    return f"words:{column.key}"


def arrays_of(table: pa.Table, columns: Sequence[Column], reader: Reader) -> dict[str, np.ndarray]:
    """The arrays of one chunk, as `_signature` describes them."""
    arrays = {name: table.column(name).to_numpy() for name in (FILE, ROW)}
    misfits = _Misfits(reader, arrays[FILE], arrays[ROW])
    counts: dict[str, np.ndarray] = {}
    lists: dict[str, list[Column]] = {}  # the columns of each history; of a vector its own
    texts: dict[str, list[Column]] = {}  # the same, of those in texts
    for column in columns:
        values = table.column(column.key).combine_chunks()
        together = column.sequence or column.key
        if column.width is not None:
            lists.setdefault(together, []).append(column)
            counts[column.key] = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
            values = values.flatten()
        arrays[column.key], words = _flat(values, column)
        if words is not None:
            arrays[words_of(column)] = words
        if column.separator is not None:
            texts.setdefault(together, []).append(column)
    for fields in texts.values():
        _check_texts(arrays, fields, misfits)
    for fields in lists.values():
        _check_lists(arrays, counts, fields, misfits)
        first = fields[0]
        lengths, width = counts[first.key], first.width or 0
        for column in fields:
            if column.weighs:
                arrays[column.key] = _filled_up(arrays[column.key], counts[column.key], lengths)
        if first.sequence is not None:
            lengths = _keep_events(arrays, fields, lengths)
        for column in fields:
            arrays[column.key] = _padded(arrays[column.key], lengths, width, _missing(arrays, column))
    return arrays


class _Misfits:
    """Says what is to be done about rows of a chunk that hold what they may not: they fail, or are noted where such are left out."""

    def __init__(self, reader: Reader, file: np.ndarray, row: np.ndarray):
        self.form, self.skipped = reader.form, reader.skipped
        self._files, self._file, self._row = reader.files, file, row

    def refuse(self, wrong: np.ndarray, column: Column, must: str, received: Any) -> None:
        """Raises ValueError of the first `wrong` row, or notes them all; what they hold is then to be made a missing value."""
        row = wrong.argmax()
        message = (
            f"{self._files[self._file[row]]}: row {self._row[row]}: column {column.name!r} must hold {must}. "
            f"Received: {received}"
        )
        if self.skipped is None:
            raise ValueError(message)
        self.skipped.note(wrong.sum(), message)


def _flat(values: pa.Array, column: Column) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers with the missing value where there was none; for text codes, and words of which the last is the empty one."""
    if column.dtype == "int64":
        return values.fill_null(column.missing_integer).to_numpy(zero_copy_only=False), None
    if column.dtype != "string":
        return values.to_numpy(zero_copy_only=False).astype(column.dtype), None  # null becomes NaN
    values = without_long_dictionary(values)  # a long dictionary is not worth its way for a short chunk
    if not types.is_dictionary(values.type):
        values = values.dictionary_encode()
    words = pa.concat_arrays([values.dictionary, pa.array([MISSING_ID["string"]], values.dictionary.type)]).fill_null(
        MISSING_ID["string"]
    )
    codes = values.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    try:
        return codes, words.to_numpy(zero_copy_only=False)
    except pa.ArrowException:  # a file may mark text as UTF-8 that is none; ids are any bytes
        return codes, words.cast(pa.binary()).to_numpy(zero_copy_only=False)


def _missing(arrays: dict[str, np.ndarray], column: Column) -> Any:
    """What stands for a missing item of `column`."""
    if column.dtype == "string":
        return len(arrays[words_of(column)]) - 1
    return MISSING_ID.get(column.dtype, np.nan)


def _keep_events(arrays: dict[str, np.ndarray], fields: Sequence[Column], lengths: np.ndarray) -> np.ndarray:
    """Drops the positions of a history where every field is missing, as `pack_events` does, and gives the new lengths.

    Before the last positions are kept: a padded history would else keep its padding.
    """
    missing = np.ones(lengths.sum(), bool)
    for column in fields:
        items = arrays[column.key]
        if column.weighs:
            continue
        if column.dtype == "string":  # a file may hold the empty word itself
            words = arrays[words_of(column)]
            missing &= (words == words[-1])[items]
        else:
            missing &= items == _missing(arrays, column)
    if not missing.any():
        return lengths
    for column in fields:
        arrays[column.key] = arrays[column.key][~missing]
    events = np.append(0, np.cumsum(~missing))  # before each position
    ends = np.cumsum(lengths)
    return events[ends] - events[ends - lengths]


def _padded(items: np.ndarray, lengths: np.ndarray, width: int, missing: Any) -> np.ndarray:
    """The last `width` items of each list, `(rows, width)`, padded at the end; `items` holds those of all lists."""
    kept = np.minimum(lengths, width)[:, None]
    place = np.arange(width)
    source = np.cumsum(lengths)[:, None] - kept + place
    items = np.append(items, np.asarray(missing, items.dtype))
    return items[np.where(place < kept, source, len(items) - 1)]


def _uneven(column: Column, first: Column, counts: Mapping[str, np.ndarray], misfits: _Misfits) -> np.ndarray:
    """The rows where `column` holds not as many items as it must, which are refused: as `first`, of its history, or as its size says."""
    found, wanted = counts[column.key], counts[first.key]
    why = f"as many as column {first.name!r}"
    if column.sequence is None:
        wanted, why = np.full_like(found, column.width or column.size), "as the feature's `size`"
    wrong = (found != wanted) & ((found > 0) | (not column.may_hold_none))
    if wrong.any():
        row = wrong.argmax()
        misfits.refuse(wrong, column, f"{wanted[row]} items, {why}", found[row])
    return wrong


def _check_lists(
    arrays: dict[str, np.ndarray], counts: dict[str, np.ndarray], together: Sequence[Column], misfits: _Misfits
) -> None:
    """Raises ValueError at the first list that holds not as many items as it must.

    Where misfits are left out, its row has no vector, no weights, or no history.
    """
    for column in together:
        wrong = _uneven(column, together[0], counts, misfits)
        for other in _lost_with(column, together) if wrong.any() else ():
            arrays[other.key] = arrays[other.key][np.repeat(~wrong, counts[other.key])]
            counts[other.key] = np.where(wrong, 0, counts[other.key])


def _lost_with(column: Column, together: Sequence[Column]) -> Sequence[Column]:
    """Which columns have no value where `column` holds what cannot be read: weights go alone."""
    return [column] if column.weighs else together


def _filled_up(items: np.ndarray, counts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The weights `items` of all rows, with missing ones for the rows that have none."""
    found = np.full(lengths.sum(), np.nan, items.dtype)
    found[np.repeat(counts > 0, lengths)] = items
    return found


def _check_texts(arrays: dict[str, np.ndarray], together: Sequence[Column], misfits: _Misfits) -> None:
    """Raises ValueError at the first text that holds what is no item, or not as many as it must.

    Where misfits are left out, its row has no vector, no weights, or no history.
    """
    if len(together) == 1 and holds_anything(together[0]):
        return
    of_words: dict[str, np.ndarray] = {}

    def blank(column: Column, rows: np.ndarray) -> None:
        for other in _lost_with(column, together):
            arrays[other.key] = np.where(rows, len(arrays[words_of(other)]) - 1, arrays[other.key])

    for column in together:
        words = arrays[words_of(column)]
        arrays[words_of(column)], of_words[column.key], wrong_words = items_of(words, column, misfits.form)
        wrong = wrong_words[arrays[column.key]]
        if wrong.any():
            received = words[arrays[column.key][wrong.argmax()]]
            hint = "" if misfits.form is None else hint_of_commas(repr(received), misfits.form.decimal_point)
            misfits.refuse(wrong, column, items_in_words(column, misfits.form), f"{received!r}{hint}")
            blank(column, wrong)
    for column in together:
        counts = {other.key: of_words[other.key][arrays[other.key]] for other in together}
        wrong = _uneven(column, together[0], counts, misfits)
        if wrong.any():
            blank(column, wrong)


def without_long_dictionary(values: pa.Array) -> pa.Array:
    """Text that comes with more words than rows with its own words alone; anything else as it is."""
    if types.is_dictionary(values.type) and len(values.dictionary) > len(values):
        return values.dictionary_decode().dictionary_encode()
    return values

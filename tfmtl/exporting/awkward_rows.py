"""Rows made to be awkward, for comparing an export with the model that it came from."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfmtl.exporting.example_rows import RawRows, filler, take
from tfmtl.schema import Categorical, Feature, Numeric, Sequence, TargetRates
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.schema.values import as_bytes

AWKWARD_ROWS = 16


def awkward_rows(features: tuple[Feature, ...]) -> Iterator[RawRows]:
    """Batches of what models are rarely tested with.

    Missing, unknown, negative and huge ids; NaN and extreme numbers; histories that are empty, too long, padded on the
    left or in the middle; a batch whose histories have no column at all; a batch of one row.
    """
    rows: RawRows = {}
    for shift, feature in enumerate(features):
        if isinstance(feature, Categorical):
            rows[feature.name] = _cycle(_awkward_ids(feature), shift)
        elif isinstance(feature, Numeric):
            numbers = _cycle(_awkward_numbers(feature), shift).astype(np.float32)
            rows[feature.name] = numbers if feature.size == 1 else _awkward_vectors(feature, numbers)
        elif isinstance(feature, TargetRates):
            rows.setdefault(feature.column, _cycle(_awkward_ids(feature.ids()), shift))
        else:
            rows |= _awkward_sequence(feature, shift)
    yield rows
    yield take(rows, slice(1))
    of_histories = {column for feature in features if isinstance(feature, Sequence) for column in feature.columns}
    lists = {column for column in of_histories if rows[column].ndim == 2}  # others are texts
    if lists:
        yield {name: column[:, :0] if name in lists else column for name, column in rows.items()}


def _awkward_sequence(feature: Sequence, shift: int) -> RawRows:
    """The columns of a history, lists or texts."""
    rows = {feature.column(field): _awkward_histories(field, feature.length, shift) for field in feature.fields}
    numbers = _cycle([0.0, 1.0, float("nan"), 2.5, 1e3], shift).astype(np.float32)
    weights = np.stack([np.roll(numbers, i) for i in range(feature.length + 3)], 1)
    if feature.weights is not None:
        rows[feature.weights] = weights
    if feature.separator is None:
        return rows
    if feature.weight_separator is not None:
        (column, events), *_ = rows.items()
        pairs = zip(events.flat, weights.flat, strict=True)
        weighed = [feature.weight_separator.encode().join(map(_text, pair)) for pair in pairs]
        rows[column] = np.array([*weighed, None], object)[:-1].reshape(events.shape)
    return {column: _joined(events, feature.separator) for column, events in rows.items()}


def _awkward_vectors(feature: Numeric, numbers: np.ndarray) -> np.ndarray:
    """The column of vectors, lists or texts; of these some hold too few numbers, too many, or none."""
    vectors = np.stack([np.roll(numbers, i) for i in range(feature.size)], 1)
    if feature.separator is None:
        return vectors
    texts = _joined(vectors, feature.separator)
    texts[1::5], texts[2::5], texts[3::5] = _joined(vectors[1::5, 1:], feature.separator), b"", texts[3::5] + b"9"
    return texts


def _joined(histories: np.ndarray, separator: str) -> np.ndarray:
    """Each history as one text."""
    return np.array([separator.encode().join(map(_text, events)) for events in histories], object)


def _text(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def _awkward_ids(field: Categorical) -> list[Any]:
    missing = MISSING_ID[field.dtype or "string"]
    if field.dtype == "string":
        known = [as_bytes(str(value)) for value in field.vocabulary or ("a", "b")]
        return [
            b"",
            b"\xff\x00 in no vocabulary",
            known[0],
            "émigré ☃".encode(),
            known[-1],
            b"x" * 300,
            known[0].upper() + b" ",
        ]
    known_ids = list(field.vocabulary or range(field.rows - 1))
    limits = np.iinfo(np.int64)
    return [missing, known_ids[-1], -7, known_ids[0], field.rows, int(limits.max), int(limits.min)]


def _awkward_numbers(feature: Numeric) -> list[float]:
    edges = [edge for first in (feature.boundaries or (), feature.mean or ()) for edge in (first[:1] + first[-1:])]
    return [float("nan"), 0.0, -1e6, *edges, 1e6, -0.5, float(np.float32(1) / 3)]


def _cycle(values: list[Any], shift: int) -> np.ndarray:
    """`AWKWARD_ROWS` values; the first row keeps the first value, the others start at a different one a column."""
    order = [0] + [(i + shift) % len(values) for i in range(1, AWKWARD_ROWS)]
    return np.array([values[i] for i in order], dtype=object if isinstance(values[0], bytes) else None)


def _awkward_histories(field: Categorical, length: int, shift: int) -> np.ndarray:
    """`(AWKWARD_ROWS, length + 3)`: the first row is empty, the others differ in how many events stand where."""
    ids = _cycle(_awkward_ids(field)[1:], shift)
    width = length + 3
    events = np.stack([np.roll(np.resize(ids, width), row) for row in range(AWKWARD_ROWS)])
    counts = [0, 1, length, width, max(1, length // 2)]
    padding = np.zeros(events.shape, bool)
    for row in range(AWKWARD_ROWS):
        padding[row, counts[row % len(counts)] :] = True
        if row % 3 == 1:
            padding[row] = padding[row, ::-1]
    padding[-1, width // 2] = True
    events[padding] = filler(field.dtype or "string")
    return events

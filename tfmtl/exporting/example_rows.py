"""The caller's examples: rows of raw columns as NumPy arrays."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from tfmtl.schema.categorical import MISSING_ID
from tfmtl.serving.protocol.tensors import as_array

RawRows = dict[str, np.ndarray]
"""`{column: array}`, equally long; strings are arrays of bytes objects, histories are padded with the missing id."""


def rows_of(examples: Any, signature: Mapping[str, tf.TensorSpec], limit: int) -> RawRows:
    """The first `limit` rows of `examples`.

    Args:
        examples: `{column: values}`, a pandas DataFrame, an Arrow table or whatever else has an Arrow stream, or a dataset
            of batches `x` or `(x, y)`, raw columns in each case. Columns that are not in `signature` are left out.
        signature: the raw columns.
        limit: rows to take.

    Raises:
        ValueError: no rows, a missing column, columns of unequal length, or one of the wrong type or shape.
    """
    batches: list[RawRows] = []
    for batch in _batches(examples, limit):
        batches.append(_checked(batch, signature))
        if sum(map(length, batches)) >= limit:
            break
    if not sum(map(length, batches)):
        raise ValueError("`examples` must hold one row or more. Received: no rows")
    joined = {name: _concatenate([batch[name] for batch in batches], spec) for name, spec in signature.items()}
    return take(joined, slice(limit))


def filler(dtype: str) -> Any:
    """The missing id, as these arrays hold it; of the weights of events NaN."""
    return b"" if dtype == "string" else MISSING_ID.get(dtype, np.float32("nan"))


def take(rows: RawRows, index: Any) -> RawRows:
    """The rows at `index`."""
    return {name: column[index] for name, column in rows.items()}


def length(rows: RawRows) -> int:
    """How many rows there are."""
    return len(next(iter(rows.values()), ()))


def tensors(rows: Mapping[str, np.ndarray], signature: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    """`rows` as tensors of exactly the signature's types."""
    return {name: tf.constant(column, signature[name].dtype) for name, column in rows.items()}


def _batches(examples: Any, limit: int) -> Iterator[Mapping[str, Any]]:
    if isinstance(examples, tf.data.Dataset):
        for batch in examples:
            yield batch[0] if isinstance(batch, tuple) else batch
    elif hasattr(examples, "iloc"):
        yield examples.iloc[:limit]
    elif hasattr(examples, "__arrow_c_stream__"):
        table = pa.table(examples).slice(0, limit)
        yield {name: column.to_pylist() for name, column in zip(table.column_names, table.columns, strict=True)}
    else:
        yield examples


def _checked(batch: Any, signature: Mapping[str, tf.TensorSpec]) -> RawRows:
    try:
        missing = [name for name in signature if name not in batch]
    except TypeError as error:
        raise ValueError(
            f"`examples` must be raw columns by name, or a dataset of them. Received: {type(batch).__name__}"
        ) from error
    if missing:
        raise ValueError(f"`examples` lack the columns {missing}. Received: {sorted(map(str, batch))}")
    rows = {name: _array(name, batch[name], spec) for name, spec in signature.items()}
    lengths = {name: len(column) for name, column in rows.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The columns of `examples` must be equally long. Received: {lengths}")
    return rows


def _array(name: str, values: Any, spec: tf.TensorSpec) -> np.ndarray:
    """A column as an array of the served type; ValueError that names it if that would change its meaning."""
    missing = MISSING_ID.get(spec.dtype.name, float("nan"))
    if hasattr(values, "iloc"):
        values = _listed(name, values)
    if isinstance(values, list) and not values:  # no rows, and so no type
        return np.empty([size or 0 for size in spec.shape], spec.dtype.as_numpy_dtype)
    if _is_history(spec) and not isinstance(values, tf.RaggedTensor) and getattr(values, "ndim", 1) == 1:
        histories = [_filled(() if events is None else events, missing) for events in values]
        try:
            values = tf.ragged.constant(histories, spec.dtype, ragged_rank=1)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Column {name!r} of `examples` must hold lists of raw {spec.dtype.name} values. Received: {error}"
            ) from error
    array = as_array(values.to_tensor(missing) if isinstance(values, tf.RaggedTensor) else values)
    if array.dtype == object and spec.dtype != tf.string:
        array = np.array(_filled(array.flat, missing)).reshape(array.shape)
    received = tf.string if array.dtype.kind in "OSUT" else tf.as_dtype(array.dtype)
    fits = {
        tf.string: received == tf.string,
        tf.int64: received.is_integer,
        tf.float32: received.is_floating or received.is_integer or received.is_bool,
    }
    if not fits.get(spec.dtype, received == spec.dtype):
        hint = ""
        if spec.dtype == tf.int64 and received.is_floating:
            hint = " (pandas turns integers with missing values into floats; its type 'Int64' does not)"
        raise ValueError(
            f"Column {name!r} of `examples` must be raw {spec.dtype.name} values, not what the preprocessor makes of them. "
            f"Received: {received.name}{hint}"
        )
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(
            f"Column {name!r} of `examples` must have the shape {tuple(spec.shape)}. Received: {array.shape}"
        )
    if spec.dtype == tf.string:
        return np.array([_as_bytes(value) for value in array.flat] + [None], object)[:-1].reshape(array.shape)
    if spec.dtype == tf.int64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"Column {name!r} of `examples` must hold int64 values. Received: {array.max()}")
    return array.astype(spec.dtype.as_numpy_dtype)


def _listed(name: str, series: Any) -> list[Any]:
    """The values of a pandas column, None where one is missing, however its type says so."""
    try:
        return pa.array(series).to_pylist()
    except pa.ArrowException as error:
        raise ValueError(f"Column {name!r} of `examples` must hold values of one type. Received: {error}") from error


def _filled(values: Iterable[Any], missing: Any) -> list[Any]:
    """`values` with `missing` for None."""
    return [missing if value is None else value for value in values]


def _as_bytes(value: Any) -> bytes:
    if value is None or value != value:  # None, NaN: how tables say that a string is missing
        return b""
    return value if isinstance(value, bytes) else str(value).encode()


def _is_history(spec: tf.TensorSpec) -> bool:
    return spec.shape.rank == 2 and spec.shape[1] is None


def _concatenate(columns: list[np.ndarray], spec: tf.TensorSpec) -> np.ndarray:
    """Joins batches; histories are padded to the longest."""
    if _is_history(spec):
        width = max(column.shape[1] for column in columns)
        columns = [
            np.pad(column, [(0, 0), (0, width - column.shape[1])], constant_values=filler(spec.dtype.name))
            for column in columns
        ]
    return np.concatenate(columns)

"""Columns as the arrays that a signature takes."""

import json
import numbers
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from tfmtl.schema.categorical import MISSING_ID
from tfmtl.serving.client.signature_info import shape_of
from tfmtl.serving.protocol.tensors import STRING, TensorError, as_array, as_bytes, dtype_name, numpy_dtype

_OBJECT = np.dtype(object)
_FLOATS = "fV"  # NumPy calls bfloat16 a "V"


def as_inputs(columns: Mapping[str, Any], signature: meta_graph_pb2.SignatureDef) -> dict[str, np.ndarray]:
    """Columns, by name or of a DataFrame, as arrays of the signature's dtypes.

    Raises:
        ValueError: no columns by name, an unknown one, a shape of another rank, or values that the dtype cannot hold. A
            float may be rounded, an integer not: an id would become another one.
    """
    if not hasattr(columns, "items"):
        raise ValueError(f"`columns` must be a mapping or a DataFrame. Received: {type(columns).__name__}")
    # Missing ones are the server's to judge: it may hold defaults for them, which not every release tells.
    known = set(signature.inputs)  # a protobuf map cannot be asked about names that are no strings
    unknown = sorted(str(name) for name in columns if name not in known)
    if unknown:
        raise ValueError(
            f"`columns` must be among the signature's inputs {sorted(signature.inputs)}. "
            f"Received: unknown columns {unknown}"
        )
    return {name: _input(name, value, signature.inputs[name]) for name, value in columns.items()}


def _input(name: str, value: Any, info: meta_graph_pb2.TensorInfo) -> np.ndarray:
    """A column as the signature's dtype, if no value is lost on the way; fractions may be rounded."""
    try:
        cast = _strings(value) if info.dtype == STRING else _numbers(value, numpy_dtype(info.dtype))
    except (ValueError, TypeError) as error:
        raise ValueError(f"Column {name!r} must hold {dtype_name(info.dtype)}: {error}") from error
    shape = shape_of(info)
    if shape is not None and cast.ndim != len(shape):
        raise ValueError(f"Column {name!r} must have the shape {shape}. Received: shape {cast.shape}")
    return cast


def _strings(value: Any) -> np.ndarray:
    # NumPy's own bytes type would drop zeros at the end.
    array = value if isinstance(value, np.ndarray) else np.asarray(value, object)
    if array.dtype == object and array.size:  # of lists, as tables hold histories
        array = np.asarray(array.tolist(), object)
    items = array.reshape(-1).tolist()
    for item in items:
        if not isinstance(item, str | bytes):
            raise _unequal(_OBJECT) if isinstance(item, list | tuple | np.ndarray) else _refusal(item, _OBJECT)
    strings = np.empty(array.size, object)
    strings[:] = [as_bytes(item) for item in items]
    return strings.reshape(array.shape)


def _numbers(value: Any, wanted: np.dtype) -> np.ndarray:
    try:
        array = as_array(value)
        if array.dtype == object and array.size:  # of lists, as tables hold histories
            array = as_array(array.tolist())
    except ValueError:
        raise _unequal(wanted) from None
    if not array.size or array.dtype == wanted:
        return array.astype(wanted, copy=False)
    kinds = "biuf" if wanted.kind in _FLOATS else "biu"
    if array.dtype.kind not in kinds:
        raise _refusal(_misfit(value, array, kinds), wanted)
    with np.errstate(over="ignore"):
        cast = array.astype(wanted)
    changed = _changed(array, cast)
    if changed.any():
        raise TensorError(f"{_refusal(array[changed][0].item(), wanted)}, which would change")
    return cast


def _misfit(value: Any, array: np.ndarray, kinds: str) -> Any:
    """The value that keeps a column from being of these kinds."""
    if array.dtype.kind == "f":  # NaN tells most: tables turn integers into floats for its sake
        return array.flat[int(np.argmax(np.isnan(array)))].item()
    items = np.asarray(value, object).reshape(-1).tolist()  # as they were before NumPy made them alike
    bad = [item for item in items if np.asarray(item).dtype.kind not in kinds]
    return bad[0] if bad else max(items, key=abs)


def _changed(array: np.ndarray, cast: np.ndarray) -> np.ndarray:
    """Where a cast changes a value: a whole number at all, a fraction to infinity."""
    if cast.dtype.kind not in _FLOATS:
        return cast != array
    if array.dtype.kind == "f":
        return np.isfinite(array) & ~np.isfinite(cast)
    exact = 2 ** (ml_dtypes.finfo(cast.dtype).nmant + 1)  # every whole number up to here has a float of its own
    if array.dtype.kind == "b" or (array.min() >= -exact and array.max() <= exact):
        return np.zeros(array.shape, bool)
    return cast.astype(np.float64).astype(object) != array.astype(object)  # Python compares without rounding


def _refusal(item: Any, wanted: np.dtype) -> TensorError:
    """A value that a dtype cannot hold; if it is none at all, with what says so."""
    number = isinstance(item, numbers.Number) and item == item
    hint = "" if number or isinstance(item, str | bytes) else _missing(wanted)
    return TensorError(f"Received: {item!r} of type {type(item).__name__}{hint}")


def _unequal(wanted: np.dtype) -> TensorError:
    return TensorError(f"Received: lists of unequal length, which must be padded{_missing(wanted)}")


def _missing(wanted: np.dtype) -> str:
    """How a column of this dtype says that a value is missing."""
    kind = "float" if wanted.kind in _FLOATS else "string" if wanted == _OBJECT else "int64"
    if kind == "int64" and wanted.kind != "i":
        return ""
    return f"; {json.dumps(MISSING_ID.get(kind, float('nan')))} stands for a missing {'number' if kind == 'float' else 'id'}"

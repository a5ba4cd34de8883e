"""What a signature takes and gives, and columns as it takes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from tfmtl.serving.tensors import STRING, TensorError, as_bytes, dtype_name, numpy_dtype


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature: TensorFlow's dtype, and a shape with None where any size goes."""

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a signature, by name."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


def describe(signature: meta_graph_pb2.SignatureDef) -> Signature:
    """A SignatureDef in plain words."""
    return Signature(_infos(signature.inputs), _infos(signature.outputs))


def as_inputs(columns: Mapping[str, Any], signature: meta_graph_pb2.SignatureDef) -> dict[str, np.ndarray]:
    """Columns as arrays of the signature's dtypes.

    Raises:
        ValueError: an unknown column, a shape of another rank, or values that the dtype would change.
    """
    # Missing ones are the server's to judge: it may hold defaults for them, which not every release tells.
    unknown = sorted(columns.keys() - signature.inputs.keys())
    if unknown:
        raise ValueError(
            f"`columns` must be among the signature's inputs {sorted(signature.inputs)}. "
            f"Received: unknown columns {unknown}"
        )
    return {name: _input(name, value, signature.inputs[name]) for name, value in columns.items()}


def _input(name: str, value: Any, info: meta_graph_pb2.TensorInfo) -> np.ndarray:
    """A column as the signature's dtype, if no value is lost on the way."""
    try:
        cast = _strings(value) if info.dtype == STRING else _numbers(value, numpy_dtype(info.dtype))
    except (ValueError, TypeError) as error:
        raise ValueError(f"Column {name!r} must hold {dtype_name(info.dtype)}: {error}") from error
    shape = _shape(info)
    if shape is not None and cast.ndim != len(shape):
        raise ValueError(f"Column {name!r} must have the shape {shape}. Received: shape {cast.shape}")
    return cast


def _strings(value: Any) -> np.ndarray:
    # NumPy's own bytes type would drop zeros at the end.
    array = value if isinstance(value, np.ndarray) else np.asarray(value, object)
    if array.dtype.kind not in "OSU" and array.size:
        raise TensorError(f"Received: {array.dtype}")
    strings = np.empty(array.size, object)
    strings[:] = [as_bytes(item) for item in array.reshape(-1).tolist()]
    return strings.reshape(array.shape)


def _numbers(value: Any, wanted: np.dtype) -> np.ndarray:
    array = np.asarray(value)
    if not array.size:
        return array.astype(wanted)
    if array.dtype.kind not in ("biuf" if wanted.kind == "f" else "biu"):
        raise TensorError(f"Received: {array.dtype}")
    cast = array.astype(wanted)
    if wanted.kind != "f" and not np.array_equal(cast, array):
        raise TensorError(f"Received: {array.dtype} with values beyond it")
    return cast


def _infos(tensors: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, TensorInfo]:
    return {name: TensorInfo(dtype_name(info.dtype), _shape(info)) for name, info in sorted(tensors.items())}


def _shape(info: meta_graph_pb2.TensorInfo) -> tuple[int | None, ...] | None:
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)

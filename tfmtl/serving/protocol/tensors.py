"""TensorProto to NumPy and back, by TensorFlow Serving's rules.

Answers are written to the typed fields (`float_val` and its kin), one entry per element, because that is what clients
in every language read; `tf.make_tensor_proto` would fill `tensor_content`. Requests are read from either.
"""

import math
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

STRING: int = types_pb2.DT_STRING
_OBJECT = np.dtype(object)

_KINDS: dict[int, tuple[np.dtype, str]] = {
    types_pb2.DT_FLOAT: (np.dtype(np.float32), "float_val"),
    types_pb2.DT_DOUBLE: (np.dtype(np.float64), "double_val"),
    types_pb2.DT_HALF: (np.dtype(np.float16), "half_val"),
    types_pb2.DT_BFLOAT16: (np.dtype(ml_dtypes.bfloat16), "half_val"),
    types_pb2.DT_INT8: (np.dtype(np.int8), "int_val"),
    types_pb2.DT_INT16: (np.dtype(np.int16), "int_val"),
    types_pb2.DT_INT32: (np.dtype(np.int32), "int_val"),
    types_pb2.DT_INT64: (np.dtype(np.int64), "int64_val"),
    types_pb2.DT_UINT8: (np.dtype(np.uint8), "int_val"),
    types_pb2.DT_UINT16: (np.dtype(np.uint16), "int_val"),
    types_pb2.DT_UINT32: (np.dtype(np.uint32), "uint32_val"),
    types_pb2.DT_UINT64: (np.dtype(np.uint64), "uint64_val"),
    types_pb2.DT_BOOL: (np.dtype(np.bool_), "bool_val"),
    types_pb2.DT_COMPLEX64: (np.dtype(np.complex64), "scomplex_val"),
    types_pb2.DT_COMPLEX128: (np.dtype(np.complex128), "dcomplex_val"),
    types_pb2.DT_STRING: (_OBJECT, "string_val"),
}
_ENUMS = {dtype: enum for enum, (dtype, _) in _KINDS.items()}
_PARTS: dict[str, np.dtype] = {
    "scomplex_val": np.dtype(np.float32),
    "dcomplex_val": np.dtype(np.float64),
    "half_val": np.dtype(np.uint16),
}
"""Fields that hold something else than whole elements: the two parts of a complex number, the bits of a half."""

# One value may stand for a whole tensor, so a short request can name a huge shape. No honest one passes gRPC's limit.
_MAX_BYTES = 2**31 - 1
_MAX_RANK = 64  # NumPy's


class TensorError(ValueError):
    """A TensorProto that does not describe a tensor, or an array that no TensorProto can hold."""


def dtype_name(enum: int) -> str:
    """`"DT_FLOAT"` for 1; the number itself for an enum that TensorFlow does not know."""
    return types_pb2.DataType.Name(enum) if enum in types_pb2.DataType.values() else str(enum)


def numpy_dtype(enum: int) -> np.dtype:
    """The NumPy dtype of a TensorFlow one; strings are objects that hold bytes."""
    try:
        return _KINDS[enum][0]
    except KeyError:
        raise TensorError(f"Tensors of type {dtype_name(enum)} cannot be exchanged") from None


def dtype_enum(dtype: np.dtype) -> int:
    """The TensorFlow dtype of a NumPy one."""
    if dtype.kind in "OSU":
        return STRING
    try:
        return _ENUMS[dtype]
    except KeyError:
        raise TensorError(f"TensorFlow Serving has no tensor type for NumPy's {dtype}") from None


def as_array(values: Any) -> np.ndarray:
    """`np.asarray` that leaves values whole.

    Of a list NumPy makes floats where some integers are beyond int64, and texts of one width, which lose the NULs at their ends.
    """
    array = np.asarray(values)
    if array.dtype.kind in "SU" and not hasattr(values, "dtype"):
        return np.asarray(values, object)
    if array.dtype.kind == "f" and isinstance(values, list | tuple) and array.size and np.abs(array).max() >= 2.0**63:
        items = np.asarray(values, object)
        if all(isinstance(item, int) for item in items.flat):
            return items if items.min() < 0 else items.astype(np.uint64)
    return array


def to_proto(array: Any) -> tensor_pb2.TensorProto:
    """Writes an array into the typed field of its dtype."""
    array = as_array(array)
    enum = dtype_enum(array.dtype)
    dtype, field = _KINDS[enum]
    proto = tensor_pb2.TensorProto(dtype=enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.reshape(-1)
    if enum == STRING:
        proto.string_val.extend([as_bytes(value) for value in flat.tolist()])
    else:
        flat = np.ascontiguousarray(flat).view(_PARTS.get(field, dtype))
        getattr(proto, field).extend(flat.tolist())
    return proto


def from_proto(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Reads a tensor from `tensor_content` or from its typed field.

    Fewer values than elements: the last one repeats; no value: zeros. Surplus values are not read.

    Raises:
        TensorError: no dtype or one that cannot be sent, an impossible shape, or content of the wrong length.
    """
    dtype, field = numpy_dtype(proto.dtype), _KINDS[proto.dtype][1]
    shape = _shape(proto, dtype)
    count = math.prod(shape)
    if proto.tensor_content:
        if proto.dtype == STRING:
            return _objects(_strings(proto.tensor_content, count)).reshape(shape)
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise TensorError(
                f"tensor_content holds {len(proto.tensor_content)} bytes, the shape {count * dtype.itemsize}"
            )
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = getattr(proto, field)
    if proto.dtype == STRING:
        given = _objects(list(values[:count]))
    elif field == "half_val":
        given = np.array(values[:count], np.uint32).astype(np.uint16).view(dtype)
    elif field in _PARTS:
        given = np.array(values[: 2 * count], _PARTS[field])
        given = given[: given.size // 2 * 2].view(dtype)
    else:
        # int_val serves every small integer type; like the server, keep the low bits of what does not fit.
        read: Any = np.int32 if field == "int_val" else dtype
        given = np.array(values[:count], read).astype(dtype, copy=False)
    return _stretched(given, count, dtype).reshape(shape)


def filled_bytes(proto: tensor_pb2.TensorProto) -> int:
    """The bytes of a tensor that a TensorProto names and does not carry, because its last value stands for the rest.

    Raises:
        TensorError: no dtype or one that cannot be sent, or an impossible shape.
    """
    dtype, field = numpy_dtype(proto.dtype), _KINDS[proto.dtype][1]
    count = math.prod(_shape(proto, dtype))
    if proto.tensor_content:
        return 0  # its length must be the shape's
    given = len(getattr(proto, field)) // (2 if field in ("scomplex_val", "dcomplex_val") else 1)
    return max(0, count - given) * dtype.itemsize


def _shape(proto: tensor_pb2.TensorProto, dtype: np.dtype) -> tuple[int, ...]:
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape) or len(shape) > _MAX_RANK:
        raise TensorError(f"a tensor needs a full shape of at most {_MAX_RANK} dimensions. Received: shape={shape}")
    if math.prod(size for size in shape if size) * dtype.itemsize > _MAX_BYTES:
        raise TensorError(f"a tensor holds at most {_MAX_BYTES} bytes. Received: shape={shape}")
    return shape


def _stretched(given: np.ndarray, count: int, dtype: np.dtype) -> np.ndarray:
    if given.size == count:
        return given
    blank: Any = b"" if dtype == _OBJECT else 0
    full = np.empty(count, dtype)
    full[: given.size] = given
    full[given.size :] = given[-1] if given.size else blank
    return full


def as_bytes(value: Any) -> bytes:
    """The bytes of a string tensor's element; text is UTF-8, and bytes smuggled through text as surrogates come out."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise TensorError(f"A string tensor holds text or bytes. Received: {value!r} of type {type(value).__name__}")


def _objects(values: Sequence[bytes]) -> np.ndarray:
    array = np.empty(len(values), _OBJECT)
    array[:] = values
    return array


def _strings(content: bytes, count: int) -> list[bytes]:
    """`count` varint lengths, then the bytes of all strings: TensorFlow's packing of a string tensor."""
    if count > len(content):
        raise TensorError(f"tensor_content holds {len(content)} bytes, too few for the lengths of {count} strings")
    lengths, position = [], 0
    for _ in range(count):
        length, shift = 0, 0
        while True:
            if position >= len(content) or shift > 28:
                raise TensorError("tensor_content ends inside the lengths of its strings")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise TensorError("tensor_content does not hold the bytes that the lengths of its strings name")
    strings = []
    for length in lengths:
        strings.append(content[position : position + length])
        position += length
    return strings

"""The JSON of TensorFlow Serving's REST API: requests to arrays, arrays to answers.

Shapes come from the nesting of the JSON and never from the signature; types come from the signature and are strict.
"""

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tfmtl.serving.protocol.tensors import as_bytes, dtype_enum, dtype_name
from tfmtl.serving.server.loose_json import decode
from tfmtl.serving.server.serving_error import Code, ServingError, invalid

_B64 = "b64"
_BYTES_SUFFIX = "_bytes"
_SHOWN = 256  # characters of a bad value that an error quotes

_FLOATS = {types_pb2.DT_FLOAT: np.float32, types_pb2.DT_DOUBLE: np.float64}
_INTEGERS = {
    # Small integers are read as int32 and keep their low bits: the real server does not check their range either.
    types_pb2.DT_INT8: (np.int32, np.int8),
    types_pb2.DT_INT16: (np.int32, np.int16),
    types_pb2.DT_UINT8: (np.int32, np.uint8),
    types_pb2.DT_INT32: (np.int32, np.int32),
    types_pb2.DT_INT64: (np.int64, np.int64),
    types_pb2.DT_UINT32: (np.uint32, np.uint32),
    types_pb2.DT_UINT64: (np.uint64, np.uint64),
}
_PRINTED = {*_FLOATS, *_INTEGERS, types_pb2.DT_STRING, types_pb2.DT_BOOL}


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object that a body starts with; what follows its closing brace is not read.

    `NaN`, `Infinity` and `Inf` are values, with a minus too. Of a key that comes twice the first counts. Bytes that are not UTF-8 pass through strings unchanged.
    """
    text = body.decode("utf-8", "surrogateescape").lstrip("\ufeff \t\r\n")
    if not text:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = decode(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if type(value) is not dict:
        raise invalid(f"JSON Value: {_show(value)} Is not object")
    return value


def signature_name(body: Mapping[str, Any]) -> str:
    """The request's `signature_name`, "" without one."""
    name = body.get("signature_name", "")
    if type(name) is not str:
        raise invalid(
            f"JSON Value: {_show(body)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def predict_inputs(
    body: Mapping[str, Any], inputs: Mapping[str, meta_graph_pb2.TensorInfo]
) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays that a predict body holds, and whether they came in rows (`instances`)."""
    if not inputs:
        raise invalid("Failed to get input map for signature: it has no inputs")
    if "instances" in body and "inputs" in body:
        raise invalid(f"JSON Value: {_show(body)} expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" in body:
        return _rows(body["instances"], inputs), True
    if "inputs" in body:
        return _columns(body["inputs"], inputs), False
    raise invalid("Missing 'inputs' or 'instances' key")


def to_array(value: Any, enum: int) -> np.ndarray:
    """A nested list, or a bare value, as an array of a TensorFlow dtype."""
    shape = []
    first = value
    while type(first) is list:
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    leaves = _leaves(value, shape)
    try:
        return _typed(leaves, enum).reshape(shape)
    except ValueError as error:  # more dimensions than NumPy has
        raise invalid(f"JSON Value: {_show(value)}: {error}") from error


def predictions_text(outputs: Mapping[str, np.ndarray]) -> str:
    """`{"predictions": [...]}`, one item a row; a single output goes without its name."""
    names = sorted(outputs)
    sizes = {}
    for name in names:
        if outputs[name].ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information")
        sizes[name] = len(outputs[name])
    if len(set(sizes.values())) > 1:
        raise invalid(f"Tensors have inconsistent batch sizes: {sizes}")
    columns = [_nested(_tokens(name, outputs[name]), outputs[name].shape, 1) for name in names]
    if len(names) == 1:
        rows = columns[0]
    else:
        keys = [json.dumps(name) for name in names]
        rows = [
            "{" + ", ".join(f"{key}: {value}" for key, value in zip(keys, row, strict=True)) + "}"
            for row in zip(*columns, strict=True)
        ]
    return '{"predictions": [' + ", ".join(rows) + "]}"


def outputs_text(outputs: Mapping[str, np.ndarray]) -> str:
    """`{"outputs": {name: [...]}}`; a single output goes without its name."""
    texts = {name: _nested(_tokens(name, outputs[name]), outputs[name].shape, 0)[0] for name in sorted(outputs)}
    if len(texts) == 1:
        return '{"outputs": ' + next(iter(texts.values())) + "}"
    return '{"outputs": {' + ", ".join(f"{json.dumps(name)}: {text}" for name, text in texts.items()) + "}}"


def float_texts(values: np.ndarray) -> list[str]:
    """Each float in six digits, or in as many as bring it back exactly; always with a point or an exponent."""
    flat = values.reshape(-1)
    digits = 9 if flat.dtype == np.float32 else 17
    exact = flat.tolist()
    short = ["%.6g" % value for value in exact]  # noqa: UP031  (twice as fast as format)
    with np.errstate(over="ignore"):
        same = np.array([float(text) for text in short], flat.dtype) == flat
    texts = []
    for text, kept, value in zip(short, same.tolist(), exact, strict=True):
        if not math.isfinite(value):
            texts.append("NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity")
            continue
        text = text if kept else f"{value:.{digits}g}"
        texts.append(text if "." in text or "e" in text else text + ".0")
    return texts


def decode_b64(value: Mapping[str, str]) -> bytes:
    """The bytes of a `{"b64": ...}` value; padding may lack, other characters may not occur."""
    text = "".join(value[_B64].split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def is_b64(value: Any) -> bool:
    """Whether a JSON object is a value, not a mapping: `{"b64": text}` with that single key."""
    return type(value) is dict and len(value) == 1 and type(value.get(_B64)) is str


def _rows(instances: Any, inputs: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, np.ndarray]:
    if type(instances) is not list or not instances:
        raise invalid(f"Expecting 'instances' to be a list of at least one value. JSON Value: {_show(instances)}")
    if type(instances[0]) is not dict or is_b64(instances[0]):
        if len(inputs) > 1:
            raise invalid(f"instances is a plain list, but expecting objects with the keys {sorted(inputs)}")
        columns = dict.fromkeys(inputs, instances)
        stray = next((row for row in instances if type(row) is dict and not is_b64(row)), None)
        if stray is not None:
            raise invalid(f"Expecting value/list but got object in 'instances'. JSON Value: {_show(stray)}")
    else:
        for position, row in enumerate(instances):
            if type(row) is not dict or row.keys() != inputs.keys():
                raise invalid(
                    f"Failed to process element: {position} of 'instances' list. JSON Value: {_show(row)} "
                    f"keys must be equal to: {','.join(sorted(inputs))}"
                )
        columns = {name: [row[name] for row in instances] for name in inputs}
    try:
        return {name: to_array(column, inputs[name].dtype) for name, column in columns.items()}
    except ServingError as error:
        # Inside a row even an unsupported dtype is a bad argument; in a column it is UNIMPLEMENTED.
        raise invalid(f"Failed to process 'instances' list. Error: {error}") from error


def _columns(value: Any, inputs: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, np.ndarray]:
    if type(value) is not dict or is_b64(value):
        if len(inputs) > 1:
            raise invalid(f"inputs is a plain value/list, but expecting an object with the keys {sorted(inputs)}")
        return {name: to_array(value, info.dtype) for name, info in inputs.items()}
    for name in inputs:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: to_array(value[name], info.dtype) for name, info in inputs.items()}


def _leaves(value: Any, shape: Sequence[int]) -> list[Any]:
    """The values of a nested list whose every list has the length that `shape` says."""
    level = [value]
    for depth, size in enumerate(shape):
        below: list[Any] = []
        for item in level:
            if type(item) is not list or len(item) != size:
                raise invalid(
                    f"JSON Value: {_show(item)} at level {depth}: expected a list of size {size}, as its first "
                    "neighbour is; lists must not be ragged"
                )
            below.extend(item)
        level = below
    if any(type(item) is list for item in level):
        raise invalid(f"Encountered list at unexpected level: {len(shape)}. JSON Value: {_show(value)}")
    return level


def _typed(leaves: list[Any], enum: int) -> np.ndarray:
    types = set(map(type, leaves))
    try:
        if enum in _FLOATS:
            _expect(leaves, types, {float, int}, enum)
            with np.errstate(over="ignore"):
                return np.array(leaves, _FLOATS[enum])
        if enum in _INTEGERS:
            _expect(leaves, types, {int}, enum)
            read, kept = _INTEGERS[enum]
            return np.array(leaves, read).astype(kept)
    except OverflowError as error:
        raise invalid(f"JSON Value: {error} for type {dtype_name(enum)}") from error
    if enum == types_pb2.DT_BOOL:
        _expect(leaves, types, {bool}, enum)
        return np.array(leaves, np.bool_)
    if enum == types_pb2.DT_STRING:
        _expect(leaves, types, {str, dict}, enum)
        strings = np.empty(len(leaves), object)
        strings[:] = [_string(leaf) for leaf in leaves]
        return strings
    raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value to type: {dtype_name(enum)}")


def _expect(leaves: list[Any], types: set[type], allowed: set[type], enum: int) -> None:
    if not types <= allowed:
        bad = next(leaf for leaf in leaves if type(leaf) not in allowed)
        raise invalid(f"JSON Value: {_show(bad)} is not of expected type: {dtype_name(enum)}")


def _string(leaf: Any) -> bytes:
    if type(leaf) is dict:
        if not is_b64(leaf):
            raise invalid(f"JSON Value: {_show(leaf)} not formatted correctly for base64 data")
        return decode_b64(leaf)
    try:
        return as_bytes(leaf)
    except UnicodeEncodeError as error:
        raise invalid("JSON Parse error: a lone surrogate is not text") from error


def _tokens(name: str, array: np.ndarray) -> list[str]:
    """The JSON text of every element."""
    enum = dtype_enum(array.dtype)
    if enum not in _PRINTED:
        raise invalid(f"Failed to write JSON value for tensor type: {dtype_name(enum)}")
    flat = array.reshape(-1)
    if enum in _FLOATS:
        return float_texts(flat)
    if enum == types_pb2.DT_STRING:
        quote: Callable[[bytes], str] = _quoted_b64 if name.endswith(_BYTES_SUFFIX) else _quoted
        return [quote(value) for value in flat.tolist()]
    return [json.dumps(value) for value in flat.tolist()]


def _quoted(value: bytes) -> str:
    return json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False)


def _quoted_b64(value: bytes) -> str:
    return json.dumps({_B64: base64.b64encode(value).decode("ascii")})


def _nested(tokens: list[str], shape: Sequence[int], depth: int) -> list[str]:
    """Wraps tokens in brackets from the innermost dimension outwards, down to dimension `depth`."""
    for axis in range(len(shape) - 1, depth - 1, -1):
        size = shape[axis]
        groups = math.prod(shape[:axis])
        tokens = ["[" + ", ".join(tokens[group * size : (group + 1) * size]) + "]" for group in range(groups)]
    return tokens


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=True)
    except RecursionError:
        text = "nested too deeply"
    return text[:_SHOWN]

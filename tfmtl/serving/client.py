"""Clients of a TensorFlow Serving, local or real, over gRPC and over REST: columns in, one array a task out."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from google.protobuf.json_format import ParseDict
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from .tensors import STRING, TensorError, as_bytes, dtype_name, from_proto, numpy_dtype, to_proto

_DEFAULT_SIGNATURE = "serving_default"
_NO_LIMIT = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class RequestError(RuntimeError):
    """The server refused a request, or could not be reached.

    `code` is gRPC's name of the error, such as `"NOT_FOUND"`, or over REST `"HTTP 404"`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


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


class _Client(ABC):
    """What both clients share: they know the model's signatures, so columns take the dtype that the model wants."""

    def __init__(self, *, model: str, version: int | None, label: str | None, timeout: float) -> None:
        if version is not None and label is not None:
            raise ValueError(f"Give `version` or `label`, not both. Received: version={version}, label={label!r}")
        self.model = model
        self._version = version
        self._label = label
        self._timeout = timeout
        self._known: Mapping[str, meta_graph_pb2.SignatureDef] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Closes the connection."""

    def metadata(self) -> dict[str, Signature]:
        """The model's signatures, asked anew."""
        self._known = self._signatures()
        return {
            name: Signature(_infos(signature.inputs), _infos(signature.outputs))
            for name, signature in self._known.items()
            if signature.inputs
        }

    @abstractmethod
    def status(self) -> dict[int, str]:
        """`{version: state}`, the newest first; `"AVAILABLE"` versions answer."""

    @abstractmethod
    def _signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]: ...

    def _signature(self, name: str) -> meta_graph_pb2.SignatureDef:
        if self._known is None or name not in self._known:
            self._known = self._signatures()
        if name not in self._known:
            raise ValueError(f"`signature` must be one of {sorted(self._known)}. Received: signature={name!r}")
        return self._known[name]


class Client(_Client):
    """A gRPC client.

    Args:
        address: str. `host:port`.
        model: str. The name the server gives the model.
        version: int. A version; the newest that is loaded without it.
        label: str. A version label instead of a version.
        timeout: float. Seconds for each call.

    Example:

    ```python
    with Client("127.0.0.1:8500", model="ranker") as client:
        client.predict({"user_id": ["u1", "u2"], "price": [9.5, 3.0]})["click"]   # (2, 1)
    ```
    """

    def __init__(
        self,
        address: str,
        *,
        model: str = "default",
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(model=model, version=version, label=label, timeout=timeout)
        self._channel = grpc.insecure_channel(address, options=_NO_LIMIT)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(
        self,
        columns: Mapping[str, Any],
        *,
        signature: str = _DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            columns: mapping of input names to arrays or lists; each becomes a tensor of the signature's dtype.
            signature: str.
            outputs: sequence of str. The outputs to send back, all without it. Saves bytes, not computation.

        Returns:
            `{output: array}`; strings are arrays of bytes.

        Raises:
            ValueError: columns that do not fit the signature.
            RequestError: the server refused.
        """
        inputs = _inputs(columns, self._signature(signature))
        spec = self._spec()
        spec.signature_name = signature
        request = predict_pb2.PredictRequest(model_spec=spec, output_filter=outputs)
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(to_proto(array))
        response = self._call(self._prediction.Predict, request)
        return {name: from_proto(proto) for name, proto in response.outputs.items()}

    def status(self) -> dict[int, str]:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec())
        response = self._call(self._models.GetModelStatus, request)
        name = get_model_status_pb2.ModelVersionStatus.State.Name
        return {entry.version: name(entry.state) for entry in response.model_version_status}

    def close(self) -> None:
        """Closes the channel; no call can be made afterwards."""
        self._channel.close()

    def _signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        response = self._call(self._prediction.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        return found.signature_def

    def _spec(self) -> model_pb2.ModelSpec:
        spec = model_pb2.ModelSpec(name=self.model)
        if self._version is not None:
            spec.version.value = self._version
        if self._label is not None:
            spec.version_label = self._label
        return spec

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise RequestError(error.code().name, error.details()) from error


class RestClient(_Client):
    """A REST client: slower than gRPC, and it passes wherever HTTP does.

    Args:
        url: str. `http://host:port`.
        model: str. The name the server gives the model.
        version: int. A version; the newest that is loaded without it.
        label: str. A version label instead of a version.
        timeout: float. Seconds for each call.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str = "default",
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(model=model, version=version, label=label, timeout=timeout)
        self._url = f"{url.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            self._url += f"/versions/{version}"
        if label is not None:
            self._url += f"/labels/{urllib.parse.quote(label, safe='')}"

    def predict(self, columns: Mapping[str, Any], *, signature: str = _DEFAULT_SIGNATURE) -> dict[str, np.ndarray]:
        """Runs a signature; see `Client.predict`. REST always sends all outputs."""
        definition = self._signature(signature)
        inputs = {name: _jsonable(array) for name, array in _inputs(columns, definition).items()}
        body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
        outputs = self._call(":predict", body)["outputs"]
        if len(definition.outputs) == 1:  # a single output comes without its name
            outputs = dict.fromkeys(definition.outputs, outputs)
        return {name: _array(value, definition.outputs[name].dtype) for name, value in outputs.items()}

    def status(self) -> dict[int, str]:
        return {int(entry["version"]): entry["state"] for entry in self._call("")["model_version_status"]}

    def close(self) -> None:
        """Nothing to close: each call has a connection of its own."""

    def _signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        found = get_model_metadata_pb2.SignatureDefMap()
        ParseDict(self._call("/metadata")["metadata"]["signature_def"], found)
        return found.signature_def

    def _call(self, what: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(self._url + what, data=body, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                # Strings may hold bytes that are not UTF-8; they pass as surrogates.
                return json.loads(response.read().decode("utf-8", "surrogateescape"))
        except urllib.error.HTTPError as error:
            raise RequestError(f"HTTP {error.code}", _message(error.read())) from error
        except (urllib.error.URLError, TimeoutError) as error:
            raise RequestError("UNAVAILABLE", f"{self._url} does not answer: {error}") from error


def _inputs(columns: Mapping[str, Any], signature: meta_graph_pb2.SignatureDef) -> dict[str, np.ndarray]:
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
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"Column {name!r} must have rows of one length: {error}") from error
    wanted = numpy_dtype(info.dtype)
    if info.dtype == STRING:
        fits = array.dtype.kind in "OSU" or array.size == 0
        cast = _byte_strings(name, array) if fits else array
    else:
        fits = array.dtype.kind in ("biuf" if wanted.kind == "f" else "biu") or array.size == 0
        cast = array.astype(wanted) if fits else array
        fits = fits and (wanted.kind == "f" or array.size == 0 or bool(np.all(cast == array)))
    if not fits:
        raise ValueError(f"Column {name!r} must hold {dtype_name(info.dtype)}. Received: {array.dtype} {value!r:.80}")
    shape = _shape(info)
    if shape is not None and array.ndim != len(shape):
        raise ValueError(f"Column {name!r} must have the shape {shape}. Received: shape {array.shape}")
    return cast


def _byte_strings(name: str, array: np.ndarray) -> np.ndarray:
    strings = np.empty(array.size, object)
    try:
        strings[:] = [as_bytes(value) for value in array.reshape(-1).tolist()]
    except TensorError as error:
        raise ValueError(f"Column {name!r} must hold text or bytes. {error}") from error
    return strings.reshape(array.shape)


def _infos(tensors: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, TensorInfo]:
    return {name: TensorInfo(dtype_name(info.dtype), _shape(info)) for name, info in sorted(tensors.items())}


def _shape(info: meta_graph_pb2.TensorInfo) -> tuple[int | None, ...] | None:
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)


def _jsonable(array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    return _map_leaves(_json_string, array.tolist())


def _map_leaves(function: Any, value: Any) -> Any:
    return [_map_leaves(function, item) for item in value] if isinstance(value, list) else function(value)


def _json_string(value: bytes) -> Any:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode("ascii")}


def _array(value: Any, enum: int) -> np.ndarray:
    if enum != STRING:
        return np.array(value, numpy_dtype(enum))
    return np.array(_map_leaves(_from_json_string, value), object)


def _from_json_string(value: Any) -> bytes:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else as_bytes(value)


def _message(body: bytes) -> str:
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")

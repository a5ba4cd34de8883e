"""The REST client."""

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.json_format import ParseDict
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from tfmtl.schema.categorical import MISSING_ID
from tfmtl.serving.client.connection import Connection
from tfmtl.serving.client.request_error import RequestError
from tfmtl.serving.client.signature_info import shape_of
from tfmtl.serving.protocol.addresses import is_this_machine
from tfmtl.serving.protocol.contract import DEFAULT_SIGNATURE
from tfmtl.serving.protocol.tensors import STRING, as_bytes, from_proto, numpy_dtype


class RestClient(Connection):
    """Asks a server over REST, as `Client` does over gRPC: slower, and it passes wherever HTTP does.

    Args:
        url: str. `http://host:port`. A proxy of the environment (`http_proxy`) is passed by for this machine only.
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
        direct = [urllib.request.ProxyHandler({})] if is_this_machine(url) else []
        self._opener = urllib.request.build_opener(*direct)
        self._url = f"{url.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            self._url += f"/versions/{version}"
        if label is not None:
            self._url += f"/labels/{urllib.parse.quote(label, safe='')}"

    def predict(self, columns: Mapping[str, Any], *, signature: str = DEFAULT_SIGNATURE) -> dict[str, np.ndarray]:
        """Runs a signature; see `Client.predict`. REST always sends all outputs.

        A server wants every column of a REST request; those that are left out are sent as the signature's defaults say.
        """

        def ask(inputs: Mapping[str, np.ndarray]) -> Any:
            values = {name: _jsonable(array) for name, array in _completed(inputs, self._known[signature]).items()}
            return self._call(":predict", json.dumps({"signature_name": signature, "inputs": values}).encode())

        definition, answer = self._asked(columns, signature, ask)
        outputs = answer["outputs"]
        if _names(outputs) != (set(definition.outputs) if len(definition.outputs) > 1 else set()):
            definition = self._asked_anew(signature)  # a new version, with other heads
        if len(definition.outputs) == 1:  # a single output comes without its name
            outputs = dict.fromkeys(definition.outputs, outputs)
        return {name: _array(value, definition.outputs[name]) for name, value in outputs.items()}

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
            status, answer = self._exchange(request)
        except (OSError, http.client.HTTPException) as error:  # not there, or gone in the middle of an answer
            if isinstance(getattr(error, "reason", error), TimeoutError):  # urllib hides those of a connect in a reason
                raise RequestError(
                    "DEADLINE_EXCEEDED", f"{self._url} does not answer within {self._timeout} s"
                ) from error
            raise RequestError("UNAVAILABLE", f"{self._url} does not answer: {error}") from error
        if status != http.HTTPStatus.OK:
            raise RequestError(f"HTTP {status}", _message(answer))
        # Strings may hold bytes that are not UTF-8; they pass as surrogates.
        return json.loads(answer.decode("utf-8", "surrogateescape"))

    def _exchange(self, request: urllib.request.Request) -> tuple[int, bytes]:
        """The status and the body that answer a request, whatever the status."""
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


def _completed(inputs: Mapping[str, np.ndarray], signature: meta_graph_pb2.SignatureDef) -> dict[str, np.ndarray]:
    """`inputs`, and the defaults of those that are left out; one without rows stands for a column of missing values.

    JSON could not say what kind of column has no rows.
    """
    rows = max((len(array) for array in inputs.values() if array.ndim), default=0)
    whole = dict(inputs)
    for name in signature.defaults.keys() - inputs.keys():
        default = from_proto(signature.defaults[name])
        if default.ndim and not len(default):
            missing = (
                as_bytes(MISSING_ID["string"])
                if default.dtype == object
                else MISSING_ID.get(default.dtype.name, np.nan)
            )
            default = np.full((rows, *default.shape[1:]), missing, default.dtype)
        whole[name] = default
    return whole


def _names(outputs: Any) -> set[str]:
    """The names that outputs come with; a single one has none."""
    return set(outputs) if isinstance(outputs, dict) else set()


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


def _array(value: Any, info: meta_graph_pb2.TensorInfo) -> np.ndarray:
    """An output as gRPC would have sent it: without rows, JSON does not tell its other dimensions, but the signature does."""
    if info.dtype == STRING:
        array = np.array(_map_leaves(_from_json_string, value), object)
    else:
        array = np.array(value, numpy_dtype(info.dtype))
    shape = shape_of(info)
    if array.size or shape is None or array.ndim >= len(shape):
        return array
    return array.reshape(array.shape + tuple(size or 0 for size in shape[array.ndim :]))


def _from_json_string(value: Any) -> bytes:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else as_bytes(value)


def _message(body: bytes) -> str:
    try:
        return json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")

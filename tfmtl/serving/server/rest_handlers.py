"""From a REST call and its body to JSON text."""

import gzip
import io
import json
import logging
import threading
import zlib
from collections.abc import Callable
from typing import Any

from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from tfmtl.serving.protocol.contract import DEFAULT_SIGNATURE
from tfmtl.serving.server import rest_examples, rest_json
from tfmtl.serving.server.handlers import SIGNATURE_DEF, Handlers
from tfmtl.serving.server.predict_requests import run
from tfmtl.serving.server.request_limits import LARGE_BODY, give_back_memory
from tfmtl.serving.server.rest_call import checked_utf8, parse_url
from tfmtl.serving.server.server_metrics import REQUEST_COUNT, ServerMetrics
from tfmtl.serving.server.serving_error import Code, ServingError, as_serving_error, invalid

_log = logging.getLogger(__name__)

_MAX_INFLATED = 10 << 20  # as the real server, which has no limit on bodies that come as they are


class RestHandlers:
    """Turns a call and its body into JSON text.

    Args:
        handlers: Handlers.
        metrics: ServerMetrics.
    """

    def __init__(self, handlers: Handlers, metrics: ServerMetrics) -> None:
        self._handlers = handlers
        self._metrics = metrics
        self._large = threading.Lock()
        self._methods: dict[str, Callable[[model_pb2.ModelSpec, bytes], str]] = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
            "metadata": self._metadata,
            "status": self._status,
        }

    def answer(self, verb: str, path: str, body: bytes, zipped: bool) -> tuple[int, str]:
        """The HTTP status and the JSON that answer a request; never raises.

        Large ones are answered one after the other, since their JSON takes many times their size.
        """
        if len(body) <= LARGE_BODY:
            return self._answer(verb, path, body, zipped)
        with self._large:
            try:
                return self._answer(verb, path, body, zipped)
            finally:
                give_back_memory()

    def _answer(self, verb: str, path: str, body: bytes, zipped: bool) -> tuple[int, str]:
        try:
            call = parse_url(verb, path)
            body = _inflated(body) if zipped else body
        except ServingError as error:
            self._metrics.count(REQUEST_COUNT, "", error.code.name)
            return _failed(error)
        try:
            with self._metrics.request(call.spec.name, "" if verb == "GET" else call.method, "REST"):
                return 200, self._methods[call.method](call.spec, body)
        except Exception as error:
            failure = as_serving_error(error)
            if failure.code is Code.INTERNAL:
                _log.error("a REST request failed inside the server", exc_info=error)
            return _failed(failure)

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        parsed = rest_json.parse(body)
        name = rest_json.signature_name(parsed) or DEFAULT_SIGNATURE
        with self._handlers.models.servable(spec) as servable:
            signature = servable.signatures.get(name)
            if signature is None:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            inputs, in_rows = rest_json.predict_inputs(parsed, signature.inputs)
            outputs = run(servable, signature, inputs, sorted(signature.outputs))
        return rest_json.predictions_text(outputs) if in_rows else rest_json.outputs_text(outputs)

    def _classify(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        request = _with_examples(classification_pb2.ClassificationRequest(model_spec=spec), body)
        return rest_examples.classifications_text(self._handlers.classify(request).result)

    def _regress(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        request = _with_examples(regression_pb2.RegressionRequest(model_spec=spec), body)
        return rest_examples.regressions_text(self._handlers.regress(request).result)

    def _metadata(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_DEF])
        response = self._handlers.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_DEF].Unpack(signatures)
        # Each part on its own: as an Any, the map would gain a "@type" that the real server does not print.
        return _json({"model_spec": _dict(response.model_spec), "metadata": {SIGNATURE_DEF: _dict(signatures)}})

    def _status(self, spec: model_pb2.ModelSpec, body: bytes) -> str:
        return _json(_dict(self._handlers.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec))))


def _inflated(body: bytes) -> bytes:
    try:
        inflated = gzip.GzipFile(fileobj=io.BytesIO(body)).read(_MAX_INFLATED + 1)  # a kilobyte can hold a megabyte
    except (OSError, EOFError, zlib.error) as error:
        raise invalid(f"The body is not the gzip that its Content-Encoding says: {error}") from error
    if len(inflated) > _MAX_INFLATED:
        raise invalid(f"A gzip body must hold at most {_MAX_INFLATED} bytes; one that is not compressed may hold more")
    return inflated


def _with_examples(request: Any, body: bytes) -> Any:
    parsed = rest_json.parse(body)
    name = rest_json.signature_name(parsed)
    request.model_spec.signature_name = checked_utf8(name, f"Serving signature name: {name!r} is no text")
    request.input.CopyFrom(rest_examples.examples_input(parsed))
    return request


def _failed(error: ServingError) -> tuple[int, str]:
    return error.http_status, json.dumps({"error": error.message})


def _dict(message: object) -> dict:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _json(value: object) -> str:
    return json.dumps(value, indent=1)

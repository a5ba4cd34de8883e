"""The REST door: TensorFlow Serving's URLs on aiohttp."""

import asyncio
import gzip
import io
import json
import logging
import re
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from tfmtl.serving.protocol.contract import DEFAULT_SIGNATURE
from tfmtl.serving.protocol.version_folders import parse_version
from tfmtl.serving.server import rest_examples, rest_json
from tfmtl.serving.server.errors import Code, ServingError, as_serving_error, invalid
from tfmtl.serving.server.handlers import SIGNATURE_DEF, Handlers
from tfmtl.serving.server.metrics import REQUEST_COUNT, Metrics
from tfmtl.serving.server.predict import run

_log = logging.getLogger(__name__)

_MAX_INFLATED = 10 << 20  # as the real server, which has no limit on bodies that come as they are

_API = re.compile(r"/v1/.*", re.IGNORECASE)
_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?:/(?P<method>metadata))?", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """What a URL asks for: one of the methods predict, classify, regress, metadata and status, of a model."""

    method: str
    spec: model_pb2.ModelSpec


def parse_url(verb: str, path: str) -> Call:
    """Reads a verb and a path, percent-encoded and without its query string.

    Raises:
        ServingError: INVALID_ARGUMENT for anything that is not a call, a wrong verb included.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(verb)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {verb} {path}")
    if not match["name"]:
        raise invalid("Missing model name in request.")
    spec = model_pb2.ModelSpec(name=_decoded(match["name"]))
    if match["version"]:
        version = parse_version(match["version"])
        if version is None:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = version
    if match["label"]:
        spec.version_label = _decoded(match["label"])
    return Call((match["method"] or "status").lower(), spec)


class RestHandlers:
    """Turns a call and its body into JSON text.

    Args:
        handlers: Handlers.
        metrics: Metrics.
    """

    def __init__(self, handlers: Handlers, metrics: Metrics) -> None:
        self._handlers = handlers
        self._metrics = metrics
        self._methods: dict[str, Callable[[model_pb2.ModelSpec, bytes], str]] = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
            "metadata": self._metadata,
            "status": self._status,
        }

    def answer(self, verb: str, path: str, body: bytes, zipped: bool) -> tuple[int, str]:
        """The HTTP status and the JSON that answer a request; never raises."""
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


class RestServer:
    """An HTTP server in a thread of its own.

    Args:
        handlers: RestHandlers.
        host: str.
        port: int. 0 takes a free one.
        threads: int. Requests computed at the same time.
        pages: mapping of exact paths to functions that give a plain text page.
        grace: float. Seconds that requests under way have when the server stops.
    """

    def __init__(
        self,
        handlers: RestHandlers,
        *,
        host: str,
        port: int,
        threads: int,
        pages: Mapping[str, Callable[[], str]],
        grace: float,
    ) -> None:
        self._handlers = handlers
        self._pages = pages
        self._grace = grace
        self._workers: Executor = ThreadPoolExecutor(threads, thread_name_prefix="tfmtl-rest")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tfmtl-rest", daemon=True)
        self._runner: web.AppRunner
        self._host, self._port = host, port

    def start(self) -> int:
        """Starts answering; returns the port.

        Raises:
            OSError: the port is taken.
        """
        self._thread.start()
        try:
            return asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except BaseException:
            self._end_thread()
            raise

    def stop(self) -> None:
        """Stops listening, lets requests under way finish, and ends the thread."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._end_thread()

    async def _listen(self) -> int:
        # 0: no limit on the size of a body, as the real server has none.
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:(?s:.*)}", self._handle)  # a decoded path may hold line ends
        # Inflated by the handler: aiohttp breaks the connection over a body that is no gzip.
        self._runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=self._grace)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        return int(self._runner.addresses[0][1])

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.raw_path.partition("?")[0]
        if path in self._pages:
            return web.Response(text=self._pages[path]())
        if not _API.fullmatch(path):
            return web.Response(status=404)
        try:
            body = await request.read()
        except web.RequestPayloadError as error:
            status, text = 400, json.dumps({"error": f"The body cannot be read: {error}"})
        else:
            zipped = request.headers.get("Content-Encoding", "").lower() == "gzip"
            work = asyncio.get_running_loop().run_in_executor(
                self._workers, self._handlers.answer, request.method, path, body, zipped
            )
            status, text = await work
        data = text.encode("utf-8", "surrogateescape")
        return web.Response(status=status, body=data, content_type="application/json")

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._workers.shutdown()


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
    request.model_spec.signature_name = _utf8(name, f"Serving signature name: {name!r} is no text")
    request.input.CopyFrom(rest_examples.examples_input(parsed))
    return request


def _failed(error: ServingError) -> tuple[int, str]:
    return error.http_status, json.dumps({"error": error.message})


def _decoded(text: str) -> str:
    return _utf8(unquote(text, errors="surrogateescape"), f"Failed to decode: {text}")


def _utf8(text: str, complaint: str) -> str:
    """`text`, if it is UTF-8: a proto holds nothing else."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise invalid(complaint) from error
    return text


def _dict(message: object) -> dict:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _json(value: object) -> str:
    return json.dumps(value, indent=1)

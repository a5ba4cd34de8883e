"""The REST door: TensorFlow Serving's URLs on aiohttp."""

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor

from aiohttp import web

from tfmtl.serving.server.request_limits import HELD_BYTES
from tfmtl.serving.server.rest_body import Body, BodyRefused, HeldBytes
from tfmtl.serving.server.rest_handlers import RestHandlers

TIMEOUT = 30.0
"""Seconds for an answer, as the real server's `--rest_api_timeout_in_ms` has it. What is computed by then is not cut off."""

_JOIN = 1.0  # seconds for a thread that has nothing left to do

_API = re.compile(r"/v1/.*", re.IGNORECASE)


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
        self._held = HeldBytes(HELD_BYTES)
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
        """Stops listening, lets requests under way finish within their grace, and ends the thread."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(self._grace + 1)
        self._end_thread()

    async def _listen(self) -> int:
        app = web.Application()
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
        if request.method == "OPTIONS" and "Origin" in request.headers:
            return web.Response()
        body = Body(self._held)
        try:
            status, text = await self._answered(request, path, body)
        finally:
            body.release()
        data = text.encode("utf-8", "surrogateescape")
        return web.Response(status=status, body=data, content_type="application/json")

    async def _answered(self, request: web.Request, path: str, body: Body) -> tuple[int, str]:
        """The HTTP status and the JSON that answer a request."""
        try:
            data = await body.read(request)
        except web.RequestPayloadError as error:
            return 400, _error(f"The body cannot be read: {error}")
        except BodyRefused as error:
            return error.status, _error(str(error))
        zipped = request.headers.get("Content-Encoding", "").lower() in ("gzip", "x-gzip")
        work = asyncio.get_running_loop().run_in_executor(
            self._workers, self._handlers.answer, request.method, path, data, zipped
        )
        try:
            return await asyncio.wait_for(asyncio.shield(work), TIMEOUT)
        except TimeoutError:
            return 504, _error(f"The request was not answered within {TIMEOUT:g} s")

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN)
        if not self._thread.is_alive():
            self._loop.close()
        self._workers.shutdown(wait=False, cancel_futures=True)


def _error(message: str) -> str:
    return json.dumps({"error": message})

"""The REST door: TensorFlow Serving's URLs on aiohttp."""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor

from aiohttp import web

from tfmtl.serving.server.rest_handlers import RestHandlers

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

"""The bodies of REST requests, within bounds."""

from aiohttp import web

from tfmtl.serving.server.request_limits import BODY_BYTES


class BodyRefused(Exception):
    """A body that is too large, or that comes while too many are held.

    Args:
        status: of HTTP.
        message: what the client reads.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HeldBytes:
    """Counts the bytes of all bodies under way; used by one thread.

    Args:
        most: how many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def take(self, count: int) -> None:
        """Raises BodyRefused if there is no room for `count` more."""
        if self._held + count > self._most:
            raise BodyRefused(503, f"The server holds {self._held} bytes of other requests; ask again later")
        self._held += count

    def give(self, count: int) -> None:
        """Takes `count` bytes off."""
        self._held -= count


class Body:
    """The body of one request.

    Args:
        held: where its bytes count until it is released.
        most: its largest size.
    """

    def __init__(self, held: HeldBytes, most: int = BODY_BYTES) -> None:
        self._held = held
        self._most = most
        self._size = 0

    async def read(self, request: web.Request) -> bytes:
        """The bytes.

        Raises:
            BodyRefused: too many, by the header or in fact.
            aiohttp.web.RequestPayloadError: they do not come as the headers say.
        """
        self._check(request.content_length or 0)
        chunks: list[bytes] = []
        async for chunk in request.content.iter_any():
            self._check(self._size + len(chunk))
            self._held.take(len(chunk))
            self._size += len(chunk)
            chunks.append(chunk)
        return b"".join(chunks)

    def release(self) -> None:
        """Counts the bytes no longer."""
        self._held.give(self._size)
        self._size = 0

    def _check(self, size: int) -> None:
        if size > self._most:
            raise BodyRefused(413, f"A body may have {self._most} bytes. Received: {size} or more")

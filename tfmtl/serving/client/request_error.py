"""The one error of the clients."""


class RequestError(RuntimeError):
    """The server refused a request, or could not be reached.

    `code` is gRPC's name of the error, such as `"NOT_FOUND"`, or over REST `"HTTP 404"`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

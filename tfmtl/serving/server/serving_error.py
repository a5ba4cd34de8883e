"""The one error that crosses the server: a gRPC code and a message, from which REST derives its own code."""

from http import HTTPStatus

import grpc
import tensorflow as tf

Code = grpc.StatusCode

_CODES = {code.value[0]: code for code in Code}

_HTTP = {
    Code.OK: HTTPStatus.OK,
    Code.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    Code.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    Code.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    Code.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Code.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    Code.ABORTED: HTTPStatus.CONFLICT,
    Code.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    Code.CANCELLED: 499,
    Code.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.UNKNOWN: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.DATA_LOSS: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    Code.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}

_DETAILS_LIMIT = 1024  # bytes


class ServingError(Exception):
    """What a request, or a load, failed with.

    Args:
        code: grpc.StatusCode. Never `OK`.
        message: str. What the client reads.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    @property
    def number(self) -> int:
        """The code as protos store it."""
        return self.code.value[0]

    @property
    def http_status(self) -> int:
        """The code as REST answers it."""
        return int(_HTTP[self.code])

    @property
    def details(self) -> str:
        """The message, cut as the real server cuts it; gRPC turns long details into an error of its own."""
        text = self.message.encode("utf-8", "replace")  # a lone surrogate from JSON is no UTF-8
        cut = text[:_DETAILS_LIMIT].decode("utf-8", "ignore")  # without half a character at its end
        return cut if len(text) <= _DETAILS_LIMIT else cut + "...TRUNCATED"


def invalid(message: str) -> ServingError:
    """INVALID_ARGUMENT: by far the most frequent refusal."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def as_serving_error(error: Exception) -> ServingError:
    """Any exception as a ServingError: TensorFlow's keep their code, memory is exhausted, the rest is INTERNAL."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        return ServingError(_CODES.get(error.error_code, Code.UNKNOWN), error.message or str(error))
    if isinstance(error, MemoryError):
        return ServingError(Code.RESOURCE_EXHAUSTED, "out of memory")
    return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")

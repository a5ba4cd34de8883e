"""What every gRPC call passes before its handler."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError


class _Undecodable:
    """In the place of a request: bytes that are none."""


class GrpcGate(grpc.ServerInterceptor):
    """Answers bytes that are no request, and requests that nobody waits for any more, before anything is computed.

    grpc itself logs a traceback for each message that it cannot decode, and runs what waited in the queue beyond the client's
    deadline.
    """

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """The handler of a call, behind the gate."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler  # no such method: grpc says so

        def behind(request: Any, context: grpc.ServicerContext) -> Any:
            if isinstance(request, _Undecodable):
                context.abort(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
            remaining = context.time_remaining()
            if remaining is not None and remaining <= 0:
                context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "The deadline passed before the request was looked at")
            return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(
            behind, _lenient(handler.request_deserializer), handler.response_serializer
        )


def _lenient(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """`decode`, but `_Undecodable` in place of an error."""

    def decoded(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            return _Undecodable()

    return decoded

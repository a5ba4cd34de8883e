"""The gRPC door: the official stubs on top of the handlers."""

from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tfmtl.serving.protocol.addresses import joined
from tfmtl.serving.server.grpc_gate import GrpcGate
from tfmtl.serving.server.handlers import Handlers
from tfmtl.serving.server.request_limits import GRPC_BYTES, WAITING
from tfmtl.serving.server.server_metrics import ServerMetrics
from tfmtl.serving.server.serving_error import as_serving_error

_OPTIONS = (
    ("grpc.max_receive_message_length", GRPC_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a taken port is an error, not a second server behind it
)


class _Service:
    def __init__(self, handlers: Handlers, metrics: ServerMetrics) -> None:
        self._handlers = handlers
        self._metrics = metrics

    def _answer(self, handle: Callable[[Any], Any], request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return handle(request)
        except Exception as error:
            failure = as_serving_error(error)
            context.abort(failure.code, failure.details)

    def _counted(self, api: str, handle: Callable[[Any], Any], request: Any, context: grpc.ServicerContext) -> Any:
        def answer(request: Any) -> Any:
            with self._metrics.request(request.model_spec.name, api, "GRPC"):
                return handle(request)

        return self._answer(answer, request, context)


class PredictionService(_Service, prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata."""

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._counted("Predict", self._handlers.predict, request, context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._counted("Classify", self._handlers.classify, request, context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._counted("Regress", self._handlers.regress, request, context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._answer(self._handlers.multi_inference, request, context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._answer(self._handlers.metadata, request, context)


class ModelService(_Service, model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._answer(self._handlers.status, request, context)

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._answer(self._handlers.reload_config, request, context)


def start_grpc(
    handlers: Handlers, metrics: ServerMetrics, *, host: str, port: int, threads: int
) -> tuple[grpc.Server, int]:
    """Starts answering gRPC; returns the server and the port it listens on.

    Raises:
        OSError: the port is taken.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(threads, thread_name_prefix="tfmtl-grpc"),
        interceptors=[GrpcGate()],
        options=_OPTIONS,
        maximum_concurrent_rpcs=WAITING,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(handlers, metrics), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(handlers, metrics), server)
    address = joined(host, port)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: {error}") from error
    server.start()
    return server, bound

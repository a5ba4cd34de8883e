"""Clients of a TensorFlow Serving, local or real, over gRPC and over REST: columns in, one array a task out."""

try:
    from tfmtl.serving.client.grpc_client import Client
    from tfmtl.serving.client.request_error import RequestError
    from tfmtl.serving.client.rest_client import RestClient
    from tfmtl.serving.client.signature_info import SignatureInfo, TensorInfo
except ModuleNotFoundError as error:
    raise ImportError(f"The clients need `pip install 'tfmtl[serving]'`: {error}") from error

__all__ = ["Client", "RequestError", "RestClient", "SignatureInfo", "TensorInfo"]

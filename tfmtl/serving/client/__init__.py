"""Clients of a TensorFlow Serving, local or real, over gRPC and over REST: columns in, one array a task out."""

from tfmtl.serving.client.connection import RequestError
from tfmtl.serving.client.grpc_client import Client
from tfmtl.serving.client.rest_client import RestClient
from tfmtl.serving.client.signature import Signature, TensorInfo

__all__ = ["Client", "RequestError", "RestClient", "Signature", "TensorInfo"]

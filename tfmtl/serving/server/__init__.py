"""A local TensorFlow Serving for notebooks, tests and small internal tools; production runs `tensorflow/serving`."""

from tfmtl.serving.server.local_server import LocalServer, ServerStartError

__all__ = ["LocalServer", "ServerStartError"]

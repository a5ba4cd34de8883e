"""A local TensorFlow Serving for notebooks, tests and small internal tools; production runs `tensorflow/serving`."""

try:
    from tfmtl.serving.server.local_server import LocalServer, ServerStartError
except ModuleNotFoundError as error:
    raise ImportError(f"The local server needs `pip install 'tfmtl[serving]'`: {error}") from error

__all__ = ["LocalServer", "ServerStartError"]

"""The configuration files of TensorFlow Serving: text protos, read and checked as the real server does."""

from pathlib import Path
from typing import TypeVar

from google.protobuf import message, text_format
from tensorflow_serving.config import model_server_config_pb2

from tfmtl.serving.protocol.batching_options import BatchingOptions, batching_options
from tfmtl.serving.protocol.config_protos import BatchingParameters, MonitoringConfig
from tfmtl.serving.server.model_config import ModelConfig, model_configs
from tfmtl.serving.server.server_metrics import DEFAULT_PATH
from tfmtl.serving.server.serving_error import Code, ServingError, invalid

Proto = TypeVar("Proto", bound=message.Message)


def read_text_proto(path: str | Path, kind: type[Proto]) -> Proto:
    """Parses a text proto file.

    Raises:
        ServingError: INVALID_ARGUMENT with the file, the line and the field that is wrong.
    """
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), kind())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise invalid(f"Invalid protobuf file {path}: not a {kind.DESCRIPTOR.name}: {error}") from error
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"{path} cannot be read: {error}") from error


def read_batching_options(path: str | Path) -> BatchingOptions:
    """Reads a batching parameters file.

    Raises:
        ServingError: INVALID_ARGUMENT, with the field that is wrong.
    """
    parameters = read_text_proto(path, BatchingParameters)
    try:
        return batching_options(parameters)
    except ValueError as error:
        raise invalid(str(error)) from error


def read_models_config(path: str | Path) -> list[ModelConfig]:
    """The models that a models.config names."""
    return model_configs(read_text_proto(path, model_server_config_pb2.ModelServerConfig))


def read_metrics_path(path: str | Path) -> str | None:
    """The URL path of the metrics that a monitoring file asks for; None if it asks for none."""
    config = read_text_proto(path, MonitoringConfig).prometheus_config
    return (config.path or DEFAULT_PATH) if config.enable else None

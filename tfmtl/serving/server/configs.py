"""The configuration files of TensorFlow Serving: text protos, read and checked as the real server does."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import message, text_format
from tensorflow_serving.config import model_server_config_pb2

from tfmtl.serving.protocol.batching_options import BatchingOptions, batching_options
from tfmtl.serving.protocol.config_protos import BatchingParameters, MonitoringConfig
from tfmtl.serving.server.errors import Code, ServingError, invalid
from tfmtl.serving.server.metrics import DEFAULT_PATH
from tfmtl.serving.server.versions import All, Latest, Policy, Specific

PLATFORM = "tensorflow"

Proto = TypeVar("Proto", bound=message.Message)


@dataclass(frozen=True)
class ModelConfig:
    """One model of a server: where its versions are, which of them to serve, and what to call them."""

    name: str
    base_path: Path
    policy: Policy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)


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


def model_configs(config: model_server_config_pb2.ModelServerConfig) -> list[ModelConfig]:
    """Checks a ModelServerConfig and returns its models.

    Raises:
        ServingError: INVALID_ARGUMENT for anything but a model_config_list, a name given twice or not at all, a
            relative base path, or a platform other than tensorflow.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid("ServerModelConfig type not supported: only model_config_list is")
    listed = config.model_config_list.config
    names = [entry.name for entry in listed]
    for entry in listed:
        if names.count(entry.name) > 1:
            raise invalid(f"Illegal to list model {entry.name} multiple times in config list")
        if not entry.name:
            raise invalid(f"Every model needs a name. Received: base_path={entry.base_path!r} without one")
        check_absolute(entry.name, entry.base_path)
        if entry.model_platform != PLATFORM:
            raise invalid(
                f'Model {entry.name} needs model_platform: "{PLATFORM}". '
                f"Received: model_platform={entry.model_platform!r}"
            )
    return [
        ModelConfig(entry.name, Path(entry.base_path), _policy(entry), dict(entry.version_labels)) for entry in listed
    ]


def check_absolute(name: str, base_path: str) -> None:
    """Base paths are absolute: a server's working directory is not the client's."""
    if not posixpath.isabs(base_path):
        raise invalid(f"Expected model {name} to have an absolute path; got base_path={base_path!r}")


def read_metrics_path(path: str | Path) -> str | None:
    """The URL path of the metrics that a monitoring file asks for; None if it asks for none."""
    config = read_text_proto(path, MonitoringConfig).prometheus_config
    return (config.path or DEFAULT_PATH) if config.enable else None


def _policy(entry: Any) -> Policy:
    chosen = entry.model_version_policy
    match chosen.WhichOneof("policy_choice"):
        case "all":
            return All()
        case "specific":
            return Specific(tuple(chosen.specific.versions))
        case _:
            return Latest(chosen.latest.num_versions or 1)


def named_models(models: Mapping[str, str | Path] | Sequence[ModelConfig]) -> list[ModelConfig]:
    """`{name: base path}` as configs; relative paths are taken from the working directory."""
    if isinstance(models, Mapping):
        return [ModelConfig(name, Path(path).absolute()) for name, path in models.items()]
    return list(models)

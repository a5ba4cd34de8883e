"""One model of a server, as configurations name it."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorflow_serving.config import model_server_config_pb2

from tfmtl.paths import is_url
from tfmtl.serving.protocol.base_paths import model_path
from tfmtl.serving.server.serving_error import invalid
from tfmtl.serving.server.version_policies import All, Latest, Policy, Specific

PLATFORM = "tensorflow"


@dataclass(frozen=True)
class ModelConfig:
    """One model of a server: where its versions are, which of them to serve, and what to call them."""

    name: str
    base_path: Path
    policy: Policy = field(default_factory=Latest)
    labels: Mapping[str, int] = field(default_factory=dict)


def named_models(models: Mapping[str, str | Path] | Sequence[ModelConfig]) -> list[ModelConfig]:
    """`{name: base path}` as configs; relative paths are taken from the working directory.

    Raises:
        ValueError: a path that TensorFlow cannot read from (`model_path`).
    """
    if isinstance(models, Mapping):
        return [ModelConfig(name, model_path(path, f"models[{name!r}]")) for name, path in models.items()]
    return list(models)


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
    return [ModelConfig(entry.name, _model_path(entry), _policy(entry), dict(entry.version_labels)) for entry in listed]


def _model_path(entry: Any) -> Path:
    try:
        return model_path(entry.base_path, "base_path")
    except ValueError as error:
        raise invalid(f"Model {entry.name}: {error}") from error


def check_absolute(name: str, base_path: str) -> None:
    """Base paths are absolute: a server's working directory is not the client's."""
    if not posixpath.isabs(base_path) and not is_url(base_path):
        raise invalid(f"Expected model {name} to have an absolute path; got base_path={base_path!r}")


def _policy(entry: Any) -> Policy:
    chosen = entry.model_version_policy
    match chosen.WhichOneof("policy_choice"):
        case "all":
            return All()
        case "specific":
            return Specific(tuple(chosen.specific.versions))
        case _:
            return Latest(chosen.latest.num_versions or 1)

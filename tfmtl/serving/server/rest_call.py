"""What a URL of the REST API asks for."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from tensorflow_serving.apis import model_pb2

from tfmtl.serving.protocol.version_folders import parse_version
from tfmtl.serving.server.serving_error import invalid

_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?:/(?P<method>metadata))?", re.IGNORECASE)


@dataclass(frozen=True)
class RestCall:
    """What a URL asks for: one of the methods predict, classify, regress, metadata and status, of a model."""

    method: str
    spec: model_pb2.ModelSpec


def parse_url(verb: str, path: str) -> RestCall:
    """Reads a verb and a path, percent-encoded and without its query string.

    Raises:
        ServingError: INVALID_ARGUMENT for anything that is not a call, a wrong verb included.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(verb)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {verb} {path}")
    if not match["name"]:
        raise invalid("Missing model name in request.")
    spec = model_pb2.ModelSpec(name=_decoded(match["name"]))
    if match["version"]:
        version = parse_version(match["version"])
        if version is None:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = version
    if match["label"]:
        spec.version_label = _decoded(match["label"])
    return RestCall((match["method"] or "status").lower(), spec)


def checked_utf8(text: str, complaint: str) -> str:
    """`text`, if it is UTF-8: a proto holds nothing else."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise invalid(complaint) from error
    return text


def _decoded(text: str) -> str:
    return checked_utf8(unquote(text, errors="surrogateescape"), f"Failed to decode: {text}")

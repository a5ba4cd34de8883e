"""An exported version in this process: what is in it, and its answers without a server."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfmtl.exporting.model_card import CARD_FILE, SCHEMA_FILE
from tfmtl.schema import Schema
from tfmtl.serving.protocol.base_paths import model_path
from tfmtl.serving.protocol.contract import DEFAULT_SIGNATURE
from tfmtl.serving.protocol.version_folders import versions
from tfmtl.typing import Predictions


class ExportedModel:
    """Loads a version from disk and answers in this process as a server of it would.

    Args:
        path: a base path, whose highest version is loaded, or a version's folder.

    Raises:
        ValueError: `path` is a URL.
        FileNotFoundError: there is no version.

    Example:

    ```python
    ranker = ExportedModel("models/ranker")
    ranker({"city": ["Oslo", "Rome"], "age": [31.0, float("nan")]})["click"].shape  # (2, 1)
    ```
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = newest_version(path)
        # The module owns the weights that its signatures read.
        self._module = tf.saved_model.load(str(self.path))
        self.signatures: Mapping[str, Any] = self._module.signatures
        columns = {column for feature in self.schema.features for column in feature.columns}
        self._defaults = {
            name: {alias: value for alias, value in defaults.items() if alias not in columns}
            for name, defaults in _defaults(self.path).items()
        }

    @property
    def schema(self) -> Schema:
        """The schema it was exported with."""
        return load_schema(self.path)

    @property
    def card(self) -> str:
        """The model card, as Markdown."""
        return (self.path / CARD_FILE).read_text(encoding="utf-8")

    def __call__(self, columns: Mapping[str, Any], signature: str = DEFAULT_SIGNATURE) -> Predictions:
        """What `signature` answers; `columns` are cast to the types that it takes, others are left out.

        A request to a server may leave a raw column out; here nothing is rolled out, and one that lacks is an error.

        Raises:
            ValueError: an unknown signature, or a column that lacks and has no default.
        """
        function = self.signatures.get(signature)
        if function is None:
            raise ValueError(f"`signature` must be one of {sorted(self.signatures)}. Received: signature={signature!r}")
        specs = function.structured_input_signature[1]
        given = {**self._defaults.get(signature, {}), **{name: columns[name] for name in specs if name in columns}}
        missing = sorted(specs.keys() - given.keys())
        if missing:
            raise ValueError(
                f"`columns` must hold every input of {signature!r}, {sorted(specs)}. "
                f"Received: {sorted(map(str, columns))}, without {missing}"
            )
        return function(**{name: tf.convert_to_tensor(given[name], spec.dtype) for name, spec in specs.items()})


def _defaults(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """What stands for inputs that are left out, by signature; `tf.saved_model.load` does not tell."""
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return {
        name: {alias: tf.make_ndarray(value) for alias, value in signature.defaults.items()}
        for graph in saved.meta_graphs
        for name, signature in graph.signature_def.items()
    }


def load_schema(path: str | os.PathLike[str]) -> Schema:
    """The schema that the highest version under a base path, or the version in a folder, was exported with."""
    return Schema.from_json((newest_version(path) / SCHEMA_FILE).read_text(encoding="utf-8"))


def newest_version(path: str | os.PathLike[str]) -> Path:
    """`path` if it is a version's folder, else the highest version in it."""
    base = model_path(path)
    if (base / "saved_model.pb").is_file():
        return base
    found = versions(base)
    if not found:
        raise FileNotFoundError(f"There is no version in {base}.")
    return found[max(found)]

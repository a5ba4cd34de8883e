"""What both clients share: a model on a server, and its signatures."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from tfmtl.serving.client.input_arrays import as_inputs
from tfmtl.serving.client.request_error import RequestError
from tfmtl.serving.client.signature_info import SignatureInfo, signature_info

_REFUSED = ("INVALID_ARGUMENT", "HTTP 400")


class Connection(ABC):
    """A model on a server: clients know the model's signatures, so columns take the dtype that the model wants."""

    def __init__(self, *, model: str, version: int | None, label: str | None, timeout: float) -> None:
        if version is not None and label is not None:
            raise ValueError(f"Give `version` or `label`, not both. Received: version={version}, label={label!r}")
        self.model = model
        self._version = version
        self._label = label
        self._timeout = timeout
        self._known: Mapping[str, meta_graph_pb2.SignatureDef] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Closes the connection."""

    def metadata(self) -> dict[str, SignatureInfo]:
        """The model's signatures, asked anew."""
        self._known = self._callable()
        return {name: signature_info(signature) for name, signature in self._known.items()}

    @abstractmethod
    def status(self) -> dict[int, str]:
        """`{version: state}`, the newest first; `"AVAILABLE"` versions answer."""

    @abstractmethod
    def _signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]: ...

    def _callable(self) -> dict[str, meta_graph_pb2.SignatureDef]:
        """The signatures that can be asked; what initialises a model stands among them and takes nothing."""
        return {name: signature for name, signature in self._signatures().items() if signature.inputs}

    def _asked(
        self, columns: Mapping[str, Any], name: str, ask: Callable[[dict[str, np.ndarray]], Any]
    ) -> tuple[meta_graph_pb2.SignatureDef, Any]:
        """The signature called `name`, and what `ask` answers to `columns` as it takes them.

        Columns may fit the signature that is known and not the one of a version that took over since, say if a dtype
        changed: what the server refuses is asked once more if that is so.
        """
        signature, inputs = self._prepared(columns, name)
        try:
            return signature, ask(inputs)
        except RequestError as error:
            if error.code not in _REFUSED:
                raise
            now = self._asked_anew(name)
            if signature_info(now) == signature_info(signature):
                raise
        return now, ask(as_inputs(columns, now))

    def _prepared(
        self, columns: Mapping[str, Any], name: str
    ) -> tuple[meta_graph_pb2.SignatureDef, dict[str, np.ndarray]]:
        """The signature called `name`, and `columns` as it takes them.

        A new version may take other columns than the one that was asked for its signatures: what does not fit those that
        are known is held to those of now.
        """
        signature = self._known.get(name)
        if signature is not None:
            with contextlib.suppress(ValueError):
                return signature, as_inputs(columns, signature)
        signature = self._asked_anew(name)
        return signature, as_inputs(columns, signature)

    def _asked_anew(self, name: str) -> meta_graph_pb2.SignatureDef:
        self._known = known = self._callable()
        if name not in known:
            raise ValueError(f"`signature` must be one of {sorted(known)}. Received: signature={name!r}")
        return known[name]

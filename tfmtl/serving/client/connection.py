"""What both clients share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tensorflow.core.protobuf import meta_graph_pb2

from tfmtl.serving.client.signature import Signature, describe

DEFAULT_SIGNATURE = "serving_default"


class RequestError(RuntimeError):
    """The server refused a request, or could not be reached.

    `code` is gRPC's name of the error, such as `"NOT_FOUND"`, or over REST `"HTTP 404"`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Connection(ABC):
    """A model on a server: clients know the model's signatures, so columns take the dtype that the model wants."""

    def __init__(self, *, model: str, version: int | None, label: str | None, timeout: float) -> None:
        if version is not None and label is not None:
            raise ValueError(f"Give `version` or `label`, not both. Received: version={version}, label={label!r}")
        self.model = model
        self._version = version
        self._label = label
        self._timeout = timeout
        self._known: Mapping[str, meta_graph_pb2.SignatureDef] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Closes the connection."""

    def metadata(self) -> dict[str, Signature]:
        """The model's signatures, asked anew."""
        self._known = self._signatures()
        return {name: describe(signature) for name, signature in self._known.items() if signature.inputs}

    @abstractmethod
    def status(self) -> dict[int, str]:
        """`{version: state}`, the newest first; `"AVAILABLE"` versions answer."""

    @abstractmethod
    def _signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]: ...

    def _signature(self, name: str) -> meta_graph_pb2.SignatureDef:
        if self._known is None or name not in self._known:
            self._known = self._signatures()
        if name not in self._known:
            raise ValueError(f"`signature` must be one of {sorted(self._known)}. Received: signature={name!r}")
        return self._known[name]

"""One loaded version of a model, as requests see it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from tfmtl.serving.server.server_metrics import ServerMetrics

MAX_FILTERS = 256
"""Sets of inputs and outputs to keep something ready for. Clients choose them, so their number must have a bound."""


class Runner(Protocol):
    """What computes: a session, or a batcher in front of one."""

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Feeds and fetches tensors by their names in the graph."""

    def close(self) -> None:
        """Frees what the runner holds."""


class Servable:
    """A version's signatures, and the runner that answers them.

    Args:
        name: str. The model's name.
        version: int.
        signatures: Mapping of signature names to SignatureDefs, as `saved_model.pb` has them.
        runner: Runner.
        metrics: ServerMetrics.
    """

    def __init__(
        self,
        name: str,
        version: int,
        signatures: Mapping[str, meta_graph_pb2.SignatureDef],
        runner: Runner,
        metrics: ServerMetrics,
    ) -> None:
        self.name = name
        self.version = version
        self.signatures = signatures
        self._runner = runner
        self._metrics = metrics

    def run(self, api: str, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Feeds and fetches tensors by their names in the graph; `api` is the call that the metrics name."""
        with self._metrics.runtime(self.name, api):
            return self._runner.run(feeds, fetches)

    def close(self) -> None:
        """Frees the model's memory. No run may be under way."""
        self._runner.close()

"""From a version folder to a servable that is ready for requests."""

import threading
from pathlib import Path

from tfmtl.serving.protocol.batching_options import BatchingOptions
from tfmtl.serving.server.batch_queue import BatchThreads
from tfmtl.serving.server.batching_runner import BatchingRunner
from tfmtl.serving.server.config_files import read_batching_options
from tfmtl.serving.server.graph_session import GraphSession
from tfmtl.serving.server.servable import Runner, Servable
from tfmtl.serving.server.server_metrics import ServerMetrics
from tfmtl.serving.server.warmup_replay import replay_warmup

PER_MODEL_FILE = "batching_params.pbtxt"


class ServableLoader:
    """Restores versions, puts a batcher in front of them if asked, and warms them up.

    Args:
        metrics: ServerMetrics.
        warm_up: bool. Replay the warm-up requests of a version, through the batcher.
        batching_parameters: str or Path. A BatchingParameters file; no batching without it.
        per_model_batching_parameters: bool. Read each version's own file; its threads are the server's.
    """

    def __init__(
        self,
        metrics: ServerMetrics,
        *,
        warm_up: bool,
        batching_parameters: str | Path | None,
        per_model_batching_parameters: bool,
    ) -> None:
        self._metrics = metrics
        self._warm_up = warm_up
        self._file = batching_parameters
        self._per_model = per_model_batching_parameters
        self._options: BatchingOptions | None = None
        self._threads: BatchThreads | None = None
        self._cancelled = threading.Event()

    def start(self) -> None:
        """Reads the batching parameters and starts the threads that run batches.

        Raises:
            ServingError: the file is wrong.
        """
        if self._file is not None:
            self._options = read_batching_options(self._file)
        elif self._per_model:
            self._options = BatchingOptions()
        if self._options is not None:
            self._threads = BatchThreads(self._options.num_threads)

    def load(self, name: str, version: int, path: Path) -> Servable:
        """Loads one version.

        Raises:
            ServingError, OSError, tf.errors.OpError: it cannot be restored, batched or warmed up.
        """
        session = GraphSession(path)
        runner: Runner = session
        try:
            runner = self._batched(session, path)
            servable = Servable(name, version, session.signatures, runner, self._metrics)
            if self._warm_up:
                replay_warmup(servable, path, self._metrics, self._cancelled)
        except BaseException:
            runner.close()  # a batcher's queues too, which the server's threads would keep for ever
            raise
        return servable

    def cancel(self) -> None:
        """Ends a warm-up under way, and with it the load."""
        self._cancelled.set()

    def close(self) -> None:
        """Ends the threads that run batches."""
        if self._threads is not None:
            self._threads.close()

    def _batched(self, session: GraphSession, path: Path) -> Runner:
        options = self._options
        if self._per_model:
            own = path / PER_MODEL_FILE
            options = read_batching_options(own) if own.exists() else None
        if options is None or self._threads is None:
            return session
        return BatchingRunner(session, options, self._threads, self._metrics)

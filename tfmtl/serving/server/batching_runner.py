"""Merges requests into batches, by the rules of TensorFlow Serving's `BatchingParameters`."""

import contextlib
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from tfmtl.serving.protocol.batching_options import BatchingOptions
from tfmtl.serving.server.batch_queue import BatchQueue, BatchTask, BatchThreads, Feeds
from tfmtl.serving.server.servable import MAX_FILTERS, Runner
from tfmtl.serving.server.server_metrics import INPUT_BATCH_SIZE, ServerMetrics
from tfmtl.serving.server.serving_error import invalid


class BatchingRunner:
    """A runner that merges what it is asked at the same time.

    Requests merge only if they feed the same tensors and fetch the same ones: every signature, and every
    `output_filter`, has a queue of its own.

    Args:
        runner: Runner. What runs a batch.
        options: BatchingOptions.
        threads: BatchThreads.
        metrics: ServerMetrics.
    """

    def __init__(self, runner: Runner, options: BatchingOptions, threads: BatchThreads, metrics: ServerMetrics) -> None:
        self._runner = runner
        self._options = options
        self._threads = threads
        self._metrics = metrics
        self._queues: dict[tuple[frozenset[str], frozenset[str]], BatchQueue] = {}
        self._lock = threading.Lock()

    def run(self, feeds: Feeds, fetches: Sequence[str]) -> list[np.ndarray]:
        """Waits for a batch, and for its answer."""
        rows = self._rows(feeds)
        names = sorted(set(fetches))
        with self._queue(feeds, names) as queue:
            tasks = list(self._split(feeds, rows, queue.room()))
            queue.submit(tasks)
            parts = [task.answer.result() for task in tasks]
        whole = parts[0] if len(parts) == 1 else [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
        by_name = dict(zip(names, whole, strict=True))
        return [by_name[name] for name in fetches]

    def close(self) -> None:
        """Ends the queues and frees the model."""
        for queue in self._queues.values():
            self._threads.remove(queue)
        self._runner.close()

    def _rows(self, feeds: Feeds) -> int:
        if not feeds:
            raise invalid("Batching Run() must have at least one input tensor")
        for name, array in feeds.items():
            if array.ndim == 0:
                raise invalid(f"Batching Run() input tensors must have at least one dimension. Received: {name}")
            self._metrics.observe(INPUT_BATCH_SIZE, len(array))
        sizes = {name: len(array) for name, array in feeds.items()}
        if len(set(sizes.values())) > 1:
            raise invalid(f"Batching Run() input tensors must have equal 0th-dimension size. Received: {sizes}")
        rows = next(iter(sizes.values()))
        if rows > self._options.max_batch_size:  # split or not
            raise invalid(
                f"BatchTask size {rows} is larger than maximum input batch size {self._options.max_batch_size}"
            )
        return rows

    @contextlib.contextmanager
    def _queue(self, feeds: Feeds, fetches: Sequence[str]) -> Iterator[BatchQueue]:
        """The queue of these inputs and outputs, which stays while it is used."""
        key = frozenset(feeds), frozenset(fetches)
        with self._lock:
            queue = self._queues.pop(key, None)
            if queue is None:
                queue = BatchQueue(self._runner, sorted(feeds), fetches, self._options, self._threads, self._metrics)
                self._threads.add(queue)
            self._queues[key] = queue  # the last to be asked is the last to be forgotten
            queue.users += 1
            self._forget_idle()
        try:
            yield queue
        finally:
            with self._lock:
                queue.users -= 1

    def _forget_idle(self) -> None:
        """Keeps to `MAX_FILTERS` queues, and to more only while all of them are used."""
        idle = [key for key, queue in self._queues.items() if not queue.users]
        for key in idle[: max(0, len(self._queues) - MAX_FILTERS)]:
            self._threads.remove(self._queues.pop(key))

    def _split(self, feeds: Feeds, rows: int, room: int) -> Iterator[BatchTask]:
        """The request as it is, or in pieces: the first fills the open batch, the others have the execution size."""
        if not self._options.split or rows <= room:
            yield BatchTask(feeds, rows)
            return
        start, size = 0, room or self._options.execution_size
        while start < rows:
            stop = min(rows, start + size)
            yield BatchTask({name: array[start:stop] for name, array in feeds.items()}, stop - start)
            start, size = stop, self._options.execution_size

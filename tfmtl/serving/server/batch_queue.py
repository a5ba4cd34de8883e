"""Batches that fill up in queues, and the threads that run them."""

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from tfmtl.serving.protocol.batching_options import BatchingOptions
from tfmtl.serving.server.servable import Runner
from tfmtl.serving.server.server_metrics import (
    PADDING_SIZE,
    PROCESSED_BATCH_SIZE,
    QUEUING_LATENCY,
    WRAPPED_RUN_COUNT,
    ServerMetrics,
)
from tfmtl.serving.server.serving_error import Code, ServingError, as_serving_error

Feeds = Mapping[str, np.ndarray]


@dataclass
class BatchTask:
    """A request, or a piece of one, that waits for its batch."""

    feeds: Feeds
    rows: int
    enqueued: float = field(default_factory=time.monotonic)
    answer: "Future[list[np.ndarray]]" = field(default_factory=Future)


@dataclass
class Batch:
    """Tasks that run together. Open while it may grow; due at `deadline` even if it stays open."""

    deadline: float
    tasks: list[BatchTask] = field(default_factory=list)
    rows: int = 0
    closed: bool = False


class BatchThreads:
    """The threads that run batches, shared by all queues of a server.

    Args:
        count: int. Batches run at the same time.
    """

    def __init__(self, count: int) -> None:
        self.changed = threading.Condition()
        self._queues: list[BatchQueue] = []
        self.closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"tfmtl-batch-{index}", daemon=True) for index in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, queue: "BatchQueue") -> None:
        """Has a queue served."""
        with self.changed:
            self._queues.append(queue)

    def remove(self, queue: "BatchQueue") -> None:
        """Forgets a queue, which must be empty."""
        with self.changed:
            self._queues.remove(queue)

    def close(self, timeout: float = 10.0) -> None:
        """Runs what waits, due or not, and ends the threads; one that runs longer than `timeout` seconds is left behind."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while True:
            with self.changed:
                taken = self._take()
                while taken is None:
                    if self.closing:
                        return
                    self.changed.wait(self._until_due())
                    taken = self._take()
            queue, batch = taken
            queue.process(batch)

    def _take(self) -> "tuple[BatchQueue, Batch] | None":
        for index, queue in enumerate(self._queues):
            batch = queue.take()
            if batch is not None:
                self._queues.append(self._queues.pop(index))  # the others are first next time
                return queue, batch
        return None

    def _until_due(self) -> float | None:
        deadlines = [queue.batches[0].deadline for queue in self._queues if queue.batches]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None


class BatchQueue:
    """The batches of one set of inputs and outputs of one model.

    Args:
        runner: Runner. What runs a batch.
        feeds, fetches: the names of the graph's tensors.
        options: BatchingOptions.
        threads: BatchThreads.
        metrics: ServerMetrics.
    """

    def __init__(
        self,
        runner: Runner,
        feeds: Sequence[str],
        fetches: Sequence[str],
        options: BatchingOptions,
        threads: BatchThreads,
        metrics: ServerMetrics,
    ) -> None:
        self.batches: deque[Batch] = deque()
        self.users = 0  # requests under way, counted by whoever hands the queue out
        self._runner = runner
        self._feeds = tuple(feeds)
        self._fetches = tuple(fetches)
        self._options = options
        self._threads = threads
        self._metrics = metrics

    def submit(self, tasks: Sequence[BatchTask]) -> None:
        """Puts tasks into batches.

        Raises:
            ServingError: UNAVAILABLE, the queue is full or the server stops; then none of the tasks is in it.
        """
        with self._threads.changed:
            if self._threads.closing:
                raise ServingError(Code.UNAVAILABLE, "The server stops")  # nobody is left to run a batch
            self._check_capacity(tasks)
            for task in tasks:
                if not self.batches or self.batches[-1].closed or not self._fits(self.batches[-1].rows, task.rows):
                    if self.batches:
                        self.batches[-1].closed = True
                    self.batches.append(Batch(time.monotonic() + self._options.timeout))
                batch = self.batches[-1]
                batch.tasks.append(task)
                batch.rows += task.rows
                batch.closed = batch.rows >= self._options.execution_size
            self._threads.changed.notify(len(tasks))  # a thread for each batch that may be full now

    def room(self) -> int:
        """Rows that the open batch still takes."""
        with self._threads.changed:
            open_rows = self.batches[-1].rows if self.batches and not self.batches[-1].closed else 0
            return self._options.execution_size - open_rows

    def take(self) -> Batch | None:
        """The oldest batch, if it is due; when the threads end, all are. Call with the threads' lock held."""
        if not self.batches:
            return None
        first = self.batches[0]
        due = first.closed or first.deadline <= time.monotonic() or self._threads.closing
        return self.batches.popleft() if due else None

    def process(self, batch: Batch) -> None:
        """Runs a batch and gives every task its rows, or all of them the same error."""
        for task in batch.tasks:
            waited = (time.monotonic() - task.enqueued) * 1e6
            self._metrics.observe(QUEUING_LATENCY, waited, self._options.thread_pool_name)
        try:
            answers = list(self._answers(batch))
        except Exception as error:
            failure = as_serving_error(error)
            for task in batch.tasks:
                # An error of its own for each: threads that raise one object at once mix up its traceback.
                task.answer.set_exception(ServingError(failure.code, failure.message))
        else:
            for task, answer in zip(batch.tasks, answers, strict=True):
                task.answer.set_result(answer)

    def _answers(self, batch: Batch) -> Iterator[list[np.ndarray]]:
        size = self._options.padded(batch.rows)
        feeds = {name: self._merged(name, batch, size) for name in self._feeds}
        self._metrics.observe(PADDING_SIZE, size - batch.rows, str(size))
        self._metrics.observe(PROCESSED_BATCH_SIZE, size)
        outputs = self._runner.run(feeds, self._fetches)
        self._metrics.count(WRAPPED_RUN_COUNT)
        for output in outputs:
            if output.ndim == 0:
                raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
            if len(output) != size:
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                    f"input tensors. Received: {len(output)} rows for {size}",
                )
        start = 0
        for task in batch.tasks:
            yield [output[start : start + task.rows] for output in outputs]
            start += task.rows

    def _merged(self, name: str, batch: Batch, size: int) -> np.ndarray:
        arrays = [task.feeds[name] for task in batch.tasks]
        if len({array.dtype for array in arrays}) > 1:
            raise ServingError(Code.INTERNAL, f"Tensor concat operation failed: {name} has several types in one batch")
        if self._options.pad_variable_length_inputs:
            arrays = _padded_alike(name, arrays)
        elif len({array.shape[1:] for array in arrays}) > 1:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. "
                "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal "
                "dimensions starting with the first dim.",
            )
        if size > batch.rows:
            # A real row, because any model can take one; a request may have none.
            row = next(array[:1] for array in reversed(arrays) if len(array))
            arrays.append(np.repeat(row, size - batch.rows, axis=0))
        return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]

    def _fits(self, held: int, rows: int) -> bool:
        return held + rows <= self._options.execution_size

    def _check_capacity(self, tasks: Sequence[BatchTask]) -> None:
        new = 0
        held = self.batches[-1].rows if self.batches and not self.batches[-1].closed else math.inf
        for task in tasks:
            if held + task.rows > self._options.execution_size:
                new, held = new + 1, 0
            held += task.rows
        if len(self.batches) + new > self._options.max_enqueued_batches and new:
            raise ServingError(Code.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full")


def _padded_alike(name: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Pads inner dimensions to the largest of the batch, each array with its own first element."""
    if len({array.ndim for array in arrays}) > 1:
        raise ServingError(Code.FAILED_PRECONDITION, f"Tensors with name '{name}' have different ranks in one batch")
    widest = [max(sizes) for sizes in zip(*[array.shape[1:] for array in arrays], strict=True)]
    padded = []
    for array in arrays:
        missing = [(0, 0), *((0, width - size) for width, size in zip(widest, array.shape[1:], strict=True))]
        blank = b"" if array.dtype == object else 0
        first = array.reshape(-1)[0] if array.size else blank
        padded.append(np.pad(array, missing, constant_values=first) if any(size for _, size in missing) else array)
    return padded

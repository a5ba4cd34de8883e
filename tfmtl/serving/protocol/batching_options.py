"""`BatchingParameters`, checked and with the real server's defaults."""

import itertools
import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BatchingOptions:
    """How requests are merged.

    Args:
        max_batch_size: int. Rows of the largest request, and of the largest batch unless `execution_size` is smaller.
        timeout: float. Seconds that a batch waits for more rows.
        max_enqueued_batches: int. Batches waiting in one queue.
        num_threads: int. Batches run at the same time, over all queues of a server.
        thread_pool_name: str. A label of the metrics.
        allowed_sizes: tuple of int. Sizes to which a batch is rounded up.
        pad_variable_length_inputs: bool. Pad inner dimensions that differ within a batch.
        split: bool. Cut requests that are larger than a batch.
        execution_size: int. Rows of the largest batch.
    """

    max_batch_size: int = 1000
    timeout: float = 0.0
    max_enqueued_batches: int = 10
    num_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "batch_threads"
    allowed_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    split: bool = False
    execution_size: int = 1000

    def padded(self, rows: int) -> int:
        """The size that a batch of `rows` is brought to. An empty batch has no row to repeat and stays empty."""
        if rows == 0:
            return 0
        return next((size for size in self.allowed_sizes if size >= rows), rows)


def batching_options(proto: Any) -> BatchingOptions:
    """Checks a BatchingParameters.

    Raises:
        ValueError: with the field that is wrong.
    """

    def value(name: str, default: Any) -> Any:
        return getattr(proto, name).value if proto.HasField(name) else default

    defaults = BatchingOptions()
    max_batch_size = value("max_batch_size", defaults.max_batch_size)
    split = value("enable_large_batch_splitting", False)
    options = BatchingOptions(
        max_batch_size=max_batch_size,
        timeout=value("batch_timeout_micros", 0) / 1e6,
        max_enqueued_batches=value("max_enqueued_batches", defaults.max_enqueued_batches),
        num_threads=value("num_batch_threads", defaults.num_threads),
        thread_pool_name=value("thread_pool_name", defaults.thread_pool_name),
        allowed_sizes=tuple(proto.allowed_batch_sizes),
        pad_variable_length_inputs=proto.pad_variable_length_inputs,
        split=split,
        execution_size=value("max_execution_batch_size", max_batch_size) if split else max_batch_size,
    )
    _check(options, proto)
    return options


def _check(options: BatchingOptions, proto: Any) -> None:
    for name in ("max_batch_size", "max_enqueued_batches", "num_threads", "execution_size"):
        if getattr(options, name) < 1:
            raise ValueError(f"Batching parameters: {name} must be >= 1. Received: {name}={getattr(options, name)}")
    if options.timeout < 0:
        raise ValueError(
            f"Batching parameters: batch_timeout_micros must be >= 0. Received: {options.timeout * 1e6:.0f}"
        )
    sizes = options.allowed_sizes
    if sizes and (sizes[-1] != options.max_batch_size):
        raise ValueError(
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
            f"{sizes[-1]}; expected {options.max_batch_size}"
        )
    if any(low >= high for low, high in itertools.pairwise(sizes)) or any(size < 1 for size in sizes):
        raise ValueError(f"allowed_batch_sizes must increase. Received: {list(sizes)}")
    if options.split and not (proto.HasField("max_batch_size") or proto.HasField("max_execution_batch_size")):
        raise ValueError("enable_large_batch_splitting needs max_batch_size")
    if options.execution_size > options.max_batch_size:
        raise ValueError(
            "max_execution_batch_size must be <= max_batch_size. "
            f"Received: {options.execution_size} > {options.max_batch_size}"
        )

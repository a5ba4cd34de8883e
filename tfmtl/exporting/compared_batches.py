"""The rows that an export is compared on with the model that it came from."""

from typing import NamedTuple

import tensorflow as tf

from tfmtl.exporting.awkward_rows import awkward_rows
from tfmtl.exporting.example_rows import RawRows
from tfmtl.schema import Schema

EXACT, CLOSE, HALF = 1e-6, 1e-4, 2e-2
"""Tolerances in units of `max(1, |prediction|)`: for real rows in float32; for rows made of extreme numbers, which magnify
rounding; for graphs in half precision, which rounds wherever operations were not fused."""


class ComparedBatch(NamedTuple):
    """Rows to ask about, and how far answers may differ."""

    rows: RawRows
    tolerance: float


def compared_batches(examples: RawRows | None, schema: Schema, graph: tf.Graph) -> list[ComparedBatch]:
    """The examples, if there are any, and awkward rows; half precision anywhere in `graph` widens their tolerances."""
    halves = any(y.dtype in (tf.float16, tf.bfloat16) for op in graph.get_operations() for y in op.outputs)
    real = [] if examples is None else [ComparedBatch(examples, HALF if halves else EXACT)]
    return real + [ComparedBatch(rows, HALF if halves else CLOSE) for rows in awkward_rows(schema.features)]

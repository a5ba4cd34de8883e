"""The rows that an export is compared on with the model that it came from."""

from typing import NamedTuple

import tensorflow as tf

from tfmtl.exporting.awkward_rows import awkward_rows
from tfmtl.exporting.example_rows import RawRows
from tfmtl.schema import Schema

EXACT, CLOSE, HALF = 1e-6, 1e-4, 2e-2
"""Tolerances in units of `max(1, |prediction|)`: for real rows in float32; for rows made of extreme numbers, which magnify
rounding; for graphs in half precision, which rounds wherever operations were not fused. Up to these no question is asked;
beyond, `Rounding` measures."""


class ComparedBatch(NamedTuple):
    """Rows to ask about, and how far answers may differ."""

    rows: RawRows
    tolerance: float


def compared_batches(
    examples: RawRows | None, schema: Schema, graph: tf.Graph, tolerance: float | None = None
) -> list[ComparedBatch]:
    """The examples, if there are any, and awkward rows.

    Args:
        examples: rows that the caller gave.
        schema: of the columns.
        graph: half precision anywhere in it widens the tolerances.
        tolerance: what the caller states instead.
    """
    halves = any(y.dtype in (tf.float16, tf.bfloat16) for op in graph.get_operations() for y in op.outputs)
    exact, close = (HALF, HALF) if halves else (EXACT, CLOSE)
    if tolerance is not None:
        exact = close = tolerance
    real = [] if examples is None else [ComparedBatch(examples, exact)]
    return real + [ComparedBatch(rows, close) for rows in awkward_rows(schema.features)]

"""What a loader of a data set gives."""

from dataclasses import dataclass

import pyarrow as pa

from tfmtl.schema import Schema


@dataclass(frozen=True)
class Split:
    """A data set in parts, ready for `tfmtl.adapt` and `tfmtl.read`: a schema, and rows to train, choose and report on.

    Args:
        schema: features and tasks, to be adapted to the rows of `train`.
        train: rows to learn from.
        valid: rows to choose settings and epochs with.
        test: rows to report on, once.
    """

    schema: Schema
    train: pa.Table
    valid: pa.Table
    test: pa.Table

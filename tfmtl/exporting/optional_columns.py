"""Raw columns that a request leaves out are missing.

So neither side of a rollout has to go first: a model that reads a new column answers clients that do not send it yet. In the
place of a column that is left out a server puts the signature's default, a column without rows, and the graph fills that up
with the missing value.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfmtl.exporting.example_rows import filler
from tfmtl.exporting.graph.traced_function import Signature, Tensors
from tfmtl.typing import Tensor


def left_out(signature: Signature) -> dict[str, np.ndarray]:
    """What stands for each column that is left out: one without rows.

    A column that always has one row, as the user's of `rank`, is missing at once. A signature of one column alone has none:
    nothing would tell how many rows are meant.
    """
    if len(signature) == 1:
        return {}
    return {name: np.full([size or 0 for size in spec.shape], _missing(spec)) for name, spec in signature.items()}


def filled(signature: Signature, columns: Mapping[str, Tensor]) -> Tensors:
    """`columns`, those without rows filled up with missing values to the rows of the others."""
    if len(columns) == 1:
        return dict(columns)
    rows = tf.stack([tf.size(x) if x.shape.rank == 1 else tf.shape(x)[0] for x in columns.values()])
    lacking = tf.where(tf.equal(rows, 0), tf.reduce_max(rows), 0)
    whole: Tensors = {}
    for (name, column), count in zip(columns.items(), tf.split(lacking, len(columns)), strict=True):
        size = count if column.shape.rank == 1 else tf.concat([count, tf.shape(column)[1:]], 0)
        missing = tf.fill(size, tf.constant(_missing(signature[name]), column.dtype))
        whole[name] = tf.concat([column, missing], 0)
        whole[name].set_shape(signature[name].shape)
    return whole


def _missing(spec: tf.TensorSpec) -> object:
    return np.float32("nan") if spec.dtype.is_floating else filler(spec.dtype.name)

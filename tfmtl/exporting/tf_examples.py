"""Rows as serialised `tf.Example`s, the form of Classify and Regress requests."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.exporting.example_rows import RawRows, length
from tfmtl.exporting.graph.traced_function import Signature, Tensors
from tfmtl.schema.categorical import MISSING_ID

SERIALISED = {"inputs": tf.TensorSpec((None,), tf.string)}
"""What a signature takes that reads them."""


def as_examples(rows: RawRows) -> Tensors:
    """`rows` as serialised `tf.Example`s."""
    columns = {name: (list(column) if column.ndim > 1 else column[:, None]) for name, column in rows.items()}
    examples = [
        tf.train.Example(
            features=tf.train.Features(feature={name: _feature(column[row]) for name, column in columns.items()})
        )
        for row in range(length(rows))
    ]
    return {"inputs": tf.constant([example.SerializeToString() for example in examples], tf.string)}


def _feature(values: np.ndarray) -> tf.train.Feature:
    if values.dtype == object:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values.dtype == np.int64:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def parse_examples(signature: Signature, inputs: Any) -> Tensors:
    """The columns of `signature` from serialised examples; a feature that one lacks is missing."""
    columns: dict[str, Any] = {}
    for name, spec in signature.items():
        missing = MISSING_ID.get(spec.dtype.name, float("nan"))
        shape = tuple(spec.shape)[1:]
        if shape == (None,):
            columns[name] = tf.io.FixedLenSequenceFeature((), spec.dtype, allow_missing=True, default_value=missing)
        else:
            columns[name] = tf.io.FixedLenFeature(shape, spec.dtype, default_value=np.full(shape, missing).tolist())
    return tf.io.parse_example(inputs, columns)

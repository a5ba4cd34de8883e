"""Raw tensors to row numbers: what `Preprocessor` is made of."""

import math
import weakref

import tensorflow as tf

from tfmtl.keras_host import keras
from tfmtl.schema import Categorical, Numeric
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.schema.values import as_bytes
from tfmtl.typing import Tensor


class IdEncoder(tf.Module):
    """Maps ids of one table to its rows: known ids from row 1 on, everything else to row 0."""

    def __init__(self, field: Categorical):
        super().__init__()
        self.missing = MISSING_ID[field.dtype or "string"]
        self.num_ids = field.num_ids
        self.hashing = self.table = None
        if field.hash_buckets:
            # Keras counts the bin of the masked value.
            self.hashing = keras.layers.Hashing(field.hash_buckets + 1, mask_value=self.missing)
        elif not field.num_ids:
            self.table = _table(field)

    def __call__(self, ids: Tensor) -> Tensor:
        if self.hashing is not None:
            return tf.cast(self.hashing(ids), tf.int32)
        if self.table is not None:
            return tf.cast(self.table.lookup(ids), tf.int32)
        known = (ids >= 0) & (ids < self.num_ids)
        return tf.cast(tf.where(known, ids + 1, 0), tf.int32)


def _table(field: Categorical) -> tf.lookup.StaticHashTable:
    """The rows of a vocabulary; 0 for what is not in it.

    Keras's own lookups keep a vocabulary in NumPy's texts of a fixed width, which lose the NULs at an id's end.
    """
    vocabulary = field.vocabulary if isinstance(field.vocabulary, tuple) else ()
    if field.dtype == "string":
        keys = tf.constant([as_bytes(str(value)) for value in vocabulary], tf.string)
    else:
        keys = tf.constant(vocabulary, tf.int64)
    rows = tf.range(1, len(vocabulary) + 1, dtype=tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, rows), default_value=0)
    if tf.executing_eagerly():
        # TensorFlow keeps a table by its name until the process ends. One without a name would go by itself, but is empty in
        # every session of a saved model that uses it. What loads an export keeps its tables: signatures outlive it.
        weakref.finalize(table, _destroy, table.resource_handle).atexit = False
    return table


def _destroy(handle: Tensor) -> None:
    with tf.init_scope():  # whatever is being traced when the collector comes by
        tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)


class BinEncoder(tf.Module):
    """Maps numbers to bins: NaN to 0, `[b_i, b_{i+1})` to `i + 2`, below the first edge to 1."""

    def __init__(self, feature: Numeric):
        super().__init__()
        # float32 under every policy: half precision would move numbers across edges.
        self.bins = keras.layers.Discretization(bin_boundaries=list(feature.boundaries or ()), dtype="float32")

    def __call__(self, numbers: Tensor) -> Tensor:
        return tf.where(tf.math.is_nan(numbers), 0, tf.cast(self.bins(numbers), tf.int32) + 1)


class NumberEncoder(tf.Module):
    """Standardises numbers or takes their logarithm. NaN stays; an infinite number becomes one."""

    def __init__(self, feature: Numeric):
        super().__init__()
        self.transform = feature.transform
        if feature.transform == "standardize":
            scalar = feature.size == 1
            self.mean = tf.constant((feature.mean or ())[0] if scalar else feature.mean, tf.float32)
            self.std = tf.constant((feature.std or ())[0] if scalar else feature.std, tf.float32)

    def __call__(self, numbers: Tensor) -> Tensor:
        numbers = tf.where(tf.math.is_finite(numbers), numbers, math.nan)
        if self.transform == "standardize":
            return (numbers - self.mean) / self.std
        if self.transform == "log1p":
            return tf.sign(numbers) * tf.math.log1p(tf.abs(numbers))
        return numbers


def pack_events(fields: dict[str, tuple[Tensor, IdEncoder]], length: int) -> tuple[dict[str, Tensor], Tensor]:
    """Encodes the fields of a history and keeps its last `length` events, oldest first, padding at the end.

    A position where every field is missing is padding, wherever it stands: it makes no difference whether a history
    came padded on the right, on the left, or ragged.

    Args:
        fields: for each column its ids, `(B, L')`, and their encoder.
        length: events kept.

    Returns:
        For each column the rows, `(B, length)` int32, and the mask, `(B, length)` int32, 1 for events. (Under a strategy
        Keras 3 takes the mean of a batch over the replicas, of which there is none for booleans.)
    """
    source, target, events = _places(fields, length)
    packed = {}
    for column, (ids, encoder) in fields.items():
        packed[column] = _moved(encoder(ids), source, target, length)  # row 0 elsewhere: missing
    return packed, tf.sequence_mask(tf.minimum(events, length), length, tf.int32)


def pack_weights(fields: dict[str, tuple[Tensor, IdEncoder]], weights: Tensor, length: int) -> Tensor:
    """The weights `(B, L')` of the events that `pack_events` keeps, in their places: `(B, length)`, 0 for padding.

    A weight that is missing, or not finite, is 1.
    """
    source, target, _ = _places(fields, length)
    return _moved(tf.where(tf.math.is_finite(weights), weights, 1.0), source, target, length)


def _places(fields: dict[str, tuple[Tensor, IdEncoder]], length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where the events that are kept stand, where they go, `(N, 2)` both, and how many events each history has."""
    present = tf.reduce_any(tf.stack([ids != encoder.missing for ids, encoder in fields.values()]), axis=0)  # (B, L')
    place = tf.cumsum(tf.cast(present, tf.int32), axis=1) - 1
    events = tf.reduce_sum(tf.cast(present, tf.int32), axis=1)  # (B,)
    place -= tf.maximum(events - length, 0)[:, None]  # an event's new place; negative for those that are too old
    source = tf.where(present & (place >= 0))
    return source, tf.stack([source[:, 0], tf.cast(tf.gather_nd(place, source), tf.int64)], axis=1), events


def _moved(values: Tensor, source: Tensor, target: Tensor, length: int) -> Tensor:
    shape = tf.stack([tf.shape(values, tf.int64)[0], tf.constant(length, tf.int64)])
    return tf.ensure_shape(tf.scatter_nd(target, tf.gather_nd(values, source), shape), (values.shape[0], length))

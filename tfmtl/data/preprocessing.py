"""From raw columns to what a model reads."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from tfmtl.data.encoding import BinEncoder, IdEncoder, NumberEncoder, pack_events, pack_weights
from tfmtl.data.splitting import split_ids, split_numbers, split_weights
from tfmtl.data.target_rates import TargetRateEncoder, folds
from tfmtl.schema import Categorical, Feature, Numeric, Sequence, TargetRates
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.schema.schema import check_features, table_readers
from tfmtl.typing import Encoded, Tensor


class Preprocessor(tf.Module):
    """Encodes raw columns: ids and bins to row numbers, numbers to floats, histories to padded rows and a mask.

    ```
    Categorical          row of its table; 0 if missing, unknown or out of range    (B,)  int32
    Numeric, buckets     1 + number of boundaries <= x; 0 if x is NaN               (B,)  int32
    Numeric, other       (x - mean) / std, sign(x) log(1 + |x|), or x; NaN stays    (B,) or (B, size)  float32
    Sequence             the last `length` events of each field, and a mask         (B, L)  int32
                         their `weights`, 1 if missing and 0 for padding            (B, L)  float32
    TargetRates          log odds of each task's label, and how much is known       (B, T + 1)  float32
    ```

    It holds no weights that train and learns nothing: what it needs stands in the features (`tfmtl.adapt`). Used in
    `dataset.map(preprocessor)` for training and inside an exported signature, it is one and the same computation.

    Args:
        features: adapted features, for example `schema.features`.
        passthrough: raw columns, other than what comes out encoded, to hand on as they are, for example a user id for
            per-user metrics. Models
            of `build` and `tfmtl.evaluate` leave them alone; but the `fit` of Keras 3 takes no strings on a GPU, where it
            compiles what a dataset gives, nor under a `tf.distribute` strategy.
        out_of_fold: whether `TargetRates` give a row what the other folds hold, which rows that were counted need. None does
            so for rows that come with labels (`preprocessor(x, y)`); False is for labelled rows that `adapt` never saw.

    Input shape:
        `{column: tensor}` with every column of `raw_signature`: strings, ids `(B,)`, numbers `(B,)` or `(B, size)`,
        histories `(B, L')`, padded with the missing id (`""` or -1), or ragged; histories and vectors with a `separator` texts `(B,)`.
        Integers and floats of any width are cast, but for int32 where raw ids are expected: that is what encoded ids are.
        Other columns are dropped.

    Output shape:
        `{name: tensor}` as in `encoded_signature`.

    Raises:
        ValueError: a feature that is not adapted, a missing column, or one of the wrong type or rank.

    Example:

    >>> import tensorflow as tf
    >>> from tfmtl.data import Preprocessor
    >>> from tfmtl.schema import Categorical
    >>> preprocessor = Preprocessor([Categorical("city", vocabulary=("Oslo", "Rome"))])
    >>> preprocessor({"city": tf.constant(["Rome", "Lima"])})["city"].numpy().tolist()
    [2, 0]
    """

    def __init__(
        self, features: Iterable[Feature], *, passthrough: Iterable[str] = (), out_of_fold: bool | None = None
    ):
        super().__init__(name="preprocessor")
        self.features = tuple(features)
        self.passthrough = (passthrough,) if isinstance(passthrough, str) else tuple(passthrough)
        self.out_of_fold = out_of_fold
        check_features(self.features)
        fresh = [feature.name for feature in self.features if not feature.is_adapted]
        if fresh:
            raise ValueError(
                f"Features {fresh} were never adapted: call `schema = tfmtl.adapt(schema, dataset)` first and pass its features."
            )
        taken = sorted(set(self.passthrough) & set(self.encoded_signature))
        if taken:
            raise ValueError(f"`passthrough` names columns that features encode. Received: {taken}")

        self.tables: dict[str, IdEncoder] = {}  # one lookup a table, however many features read it
        for table, field in table_readers(self.features):
            if table not in self.tables:
                self.tables[table] = IdEncoder(field)
        rates = [feature for feature in self.features if isinstance(feature, TargetRates)]
        self.rates = {feature.name: TargetRateEncoder(feature) for feature in rates}
        numeric = [feature for feature in self.features if isinstance(feature, Numeric)]
        self.numbers = {f.name: BinEncoder(f) if f.transform == "buckets" else NumberEncoder(f) for f in numeric}

    @property
    def raw_signature(self) -> dict[str, tf.TensorSpec]:
        """The raw columns, as a served signature takes them."""
        return {
            column: tf.TensorSpec(shape, dtype, name=column)
            for feature in self.features
            for column, (shape, dtype) in _raw_columns(feature).items()
        }

    @property
    def encoded_signature(self) -> dict[str, tf.TensorSpec]:
        """The encoded columns, as a model reads them; without `passthrough`."""
        return {
            name: tf.TensorSpec(shape, dtype, name=name)
            for feature in self.features
            for name, (shape, dtype) in encoded_columns(feature).items()
        }

    @tf.autograph.experimental.do_not_convert  # nothing to convert, and tracing is ten times faster
    def __call__(self, x: Mapping[str, Any], *rest: Any) -> Encoded | tuple[Encoded, *tuple[Any, ...]]:
        """`encoded` for `x` alone; `(encoded, y, ...)` for `x, y, ...`, as `dataset.map` calls it."""
        missing = [name for name in (*self.raw_signature, *self.passthrough) if name not in x]
        if missing:
            raise ValueError(f"Columns {missing} are missing. Received: {sorted(x)}")
        counted = bool(rest) if self.out_of_fold is None else self.out_of_fold
        encoded: Encoded = {}
        for feature in self.features:
            encoded |= self._encode(feature, x, counted)
        encoded |= {name: x[name] for name in self.passthrough}
        return (encoded, *rest) if rest else encoded

    def _encode(self, feature: Feature, x: Mapping[str, Any], counted: bool) -> Encoded:
        raw = {column: _check(column, x[column], *spec) for column, spec in _raw_columns(feature).items()}
        if isinstance(feature, Categorical):
            return {feature.name: self.tables[feature.table_name](raw[feature.name])}
        if isinstance(feature, Numeric):
            numbers = raw[feature.name]
            if feature.separator is not None:
                numbers = split_numbers(feature, numbers)
            return {feature.name: self.numbers[feature.name](numbers)}
        if isinstance(feature, TargetRates):
            fold = folds(feature, x) if counted else None
            return {feature.name: self.rates[feature.name](raw[feature.column], fold)}
        lists, weights = {column: x[column] for column in raw}, feature.encoded_weights
        if feature.separator is not None:
            lists = split_ids(feature, raw)
            if weights is not None:
                lists[weights] = split_weights(feature, raw)
            raw = {name: items.to_tensor(MISSING_ID.get(items.dtype.name, math.nan)) for name, items in lists.items()}
        _check_lengths(feature.name, {name: (lists[name], items) for name, items in raw.items()}, weights)
        fields = {
            feature.column(field): (raw[feature.column(field)], self.tables[feature.table_name(field)])
            for field in feature.fields
        }
        packed, mask = pack_events(fields, feature.length)
        if weights is not None:
            filled = _filled_up(raw[weights], raw[feature.id_columns[0]])
            packed[weights] = pack_weights(fields, filled, feature.length)
        return {**packed, feature.mask: mask}


_Column = tuple[tuple[int | None, ...], tf.DType]


def _raw_columns(feature: Feature) -> dict[str, _Column]:
    """Shape and type of each raw column that `feature` reads."""
    if isinstance(feature, Categorical):
        return {feature.name: ((None,), tf.as_dtype(feature.dtype))}
    if isinstance(feature, Numeric):
        return {feature.name: _numbers(feature) if feature.separator is None else ((None,), tf.string)}
    if isinstance(feature, TargetRates):
        return {feature.column: ((None,), tf.as_dtype(feature.dtype))}
    if feature.separator is not None:
        return dict.fromkeys(feature.columns, ((None,), tf.string))
    lists: dict[str, _Column] = {
        feature.column(field): ((None, None), tf.as_dtype(field.dtype)) for field in feature.fields
    }
    return lists if feature.weights is None else {**lists, feature.weights: ((None, None), tf.float32)}


def _numbers(feature: Numeric) -> _Column:
    return ((None,) if feature.size == 1 else (None, feature.size)), tf.float32


def encoded_columns(feature: Feature) -> dict[str, _Column]:
    """Shape and type of each encoded column that `feature` gives."""
    if isinstance(feature, Sequence):
        shape = (None, feature.length)
        columns: dict[str, _Column] = dict.fromkeys((*feature.id_columns, feature.mask), (shape, tf.int32))
        weights = feature.encoded_weights
        return columns if weights is None else {**columns, weights: (shape, tf.float32)}
    if isinstance(feature, Numeric) and feature.transform != "buckets":
        return {feature.name: _numbers(feature)}
    if isinstance(feature, TargetRates):
        return {feature.name: ((None, feature.size), tf.float32)}
    return {feature.name: ((None,), tf.int32)}


def _check(column: str, value: Any, shape: tuple[int | None, ...], dtype: tf.DType) -> Tensor:
    """`value` as a dense tensor of `dtype`; ValueError that names the column if it is something else."""
    try:
        tensor = value if isinstance(value, tf.RaggedTensor) else tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Column {column!r} must be a {dtype.name} tensor. Received: {value!r}") from error
    # Rows that are encoded twice would go unseen; but Python's integers, which TensorFlow takes for int32, are raw.
    encoded = tensor.dtype == tf.int32 and not isinstance(value, (list, tuple))
    fits = {
        tf.string: tensor.dtype == tf.string,
        tf.int64: (tensor.dtype.is_integer or tensor.dtype.is_bool) and not encoded,
        tf.float32: tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool,
    }
    if not fits[dtype]:
        hint = " (int32 is what encoded ids are)" if encoded else ""
        raise ValueError(f"Column {column!r} must be {dtype.name}. Received: {tensor.dtype.name}{hint}")
    if not tensor.shape.is_compatible_with(shape):
        raise ValueError(f"Column {column!r} must have the shape {shape}, batch first. Received: {tuple(tensor.shape)}")
    tensor = tf.cast(tensor, dtype)
    if isinstance(tensor, tf.RaggedTensor):
        return tensor.to_tensor(MISSING_ID.get(dtype.name, math.nan))
    return tensor


def _filled_up(weights: Tensor, ids: Tensor) -> Tensor:
    """`weights`, with missing ones where rows have fewer of them than there are ids: their padding, or none at all."""
    rows, events = tf.unstack(tf.shape(ids))
    return tf.concat([weights, tf.fill((rows, tf.maximum(events - tf.shape(weights)[1], 0)), math.nan)], axis=1)


def _check_lengths(name: str, columns: dict[str, tuple[Any, Tensor]], weights: str | None) -> None:
    """All columns of a history, each as given and as padded, must be equally long, but for rows without weights; a
    difference fails when the batch is read."""
    (first, ids), *others = columns.items()
    for column, other in others:
        wanted, found = _lengths(ids, other)
        if column == weights:
            found = tf.where(found == 0, wanted, found)
        message = f"The columns of sequence {name!r} must be equally long; {first!r} and {column!r} are not."
        tf.debugging.assert_equal(wanted, found, message=message)


def _lengths(first: tuple[Any, Tensor], second: tuple[Any, Tensor]) -> tuple[Tensor, Tensor]:
    """Of ragged lists the length of each, which padding to the longest would hide; else the padded shapes."""
    if isinstance(first[0], tf.RaggedTensor) and isinstance(second[0], tf.RaggedTensor):
        return first[0].row_lengths(), second[0].row_lengths()
    return tf.shape(first[1]), tf.shape(second[1])

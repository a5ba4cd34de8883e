"""Learns how often the labels of an id are positive, and looks it up, without showing a row its own label."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.data.encoding import IdEncoder
from tfmtl.data.summaries import as_array, id_dtype, text
from tfmtl.schema import Categorical, Schema, TargetRates
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.schema.target_rates import packed_counts
from tfmtl.typing import Tensor

_SEPARATOR = "\x1f"  # the unit separator, which ids do not hold: ("1", "23") is not ("12", "3")


def folds(feature: TargetRates, x: Mapping[str, Any]) -> Tensor:
    """`(B,)`: the fold of each row of raw columns `x`, by a hash of its ids."""
    names = feature.fold_columns or ()
    missing = [name for name in names if name not in x]
    if missing:
        raise ValueError(f"Columns {missing} deal the rows of {feature.name!r} into folds and are missing: {sorted(x)}")
    columns = [tf.convert_to_tensor(x[name]) for name in names]
    texts = [column if column.dtype == tf.string else tf.as_string(column) for column in columns]
    return tf.strings.to_hash_bucket_fast(tf.strings.join(texts, _SEPARATOR), feature.num_folds)


class TargetRateEncoder(tf.Module):
    """Looks up the rates of ids: over all rows that `adapt` saw, or over those of the other folds."""

    def __init__(self, feature: TargetRates):
        super().__init__()
        self.feature = feature
        self.ids = IdEncoder(feature.ids())
        counted = np.pad(feature.counted(), [(0, 0), (1, 0), (0, 0), (0, 0)])  # row 0: nothing is known
        total = counted.sum(axis=0)
        self.all = feature.rates(total).astype("float32")  # (ids + 1, T + 1)
        self.others = feature.rates(total - counted).astype("float32")  # (folds, ids + 1, T + 1)

    def __call__(self, ids: Tensor, fold: Tensor | None = None) -> Tensor:
        """`(B,)` ids, and the folds of their rows if these were counted -> `(B, T + 1)` float32."""
        row = self.ids(ids)
        if fold is None:
            return tf.gather(tf.constant(self.all), row)
        return tf.gather_nd(tf.constant(self.others), tf.stack([tf.cast(fold, tf.int32), row], axis=1))


class TargetRateCounts:
    """Counts positives and labelled rows of each id, in each fold. Memory grows with ids x folds x tasks.

    Args:
        feature: not adapted.
        schema: says which tasks there are, and which columns tell rows apart.
    """

    def __init__(self, feature: TargetRates, schema: Schema):
        binary = tuple(task.name for task in schema.tasks if task.kind == "binary")
        tasks = binary if feature.tasks is None else feature.tasks
        if not tasks or not set(tasks) <= set(binary):
            raise ValueError(
                f"`tasks` of {feature.name!r} must be binary tasks of the schema. Received: {tasks}; known: {list(binary)}"
            )
        ids = [f.columns[0] for f in schema.features if isinstance(f, Categorical)]
        names = feature.fold_columns or tuple(dict.fromkeys([feature.column, *ids]))
        if set(names) <= {feature.column}:
            raise ValueError(
                f"`fold_columns` of {feature.name!r} must name a column beside {feature.column!r}, such as the item of a user's "
                f"rates: else all rows of an id are in one fold, and training never sees its rates. Received: {names}"
            )
        self.feature = replace(feature, tasks=tasks, fold_columns=names)
        self._place: dict[Any, int] = {}
        self._counts = np.zeros((1024, feature.num_folds, len(tasks), 2), "int32")
        self._rows = np.zeros(1024, "int64")
        self._totals = np.zeros((len(tasks), 2))

    def update(self, x: Mapping[str, Any], labels: Any) -> None:
        """Counts one batch of raw columns and labels, `{task: (B,)}` with NaN where a row does not count."""
        feature = self.feature
        tasks = feature.tasks or ()
        if not isinstance(labels, Mapping) or not set(tasks) <= set(labels):
            given = sorted(labels) if isinstance(labels, Mapping) else None
            raise ValueError(
                f"The rates of {feature.name!r} are learned from labels: `dataset` must give (x, y) with {tasks}. Received: {given}"
            )
        if feature.column not in x:
            raise ValueError(f"Column {feature.column!r} of {feature.name!r} is missing. Received: {sorted(x)}")
        ids = as_array(x[feature.column]).reshape(-1)
        dtype = id_dtype(ids)
        if dtype is None or feature.dtype not in (None, dtype):
            raise ValueError(
                f"Column {feature.column!r} must hold {feature.dtype or 'strings or integers'}. Received: {ids.dtype}"
            )
        self.feature = replace(feature, dtype=dtype)
        y = np.stack([np.asarray(labels[task], "float64").reshape(-1) for task in tasks], axis=1)  # (B, T)
        counts = np.stack([np.nan_to_num(y), ~np.isnan(y)], axis=-1)  # (B, T, 2)
        self._totals += counts.sum(axis=0)
        fold = folds(feature, x).numpy()
        places = np.array([self._known(value) for value in ids.tolist()])
        kept = places >= 0
        np.add.at(self._counts, (places[kept], fold[kept]), counts[kept].astype("int32"))
        np.add.at(self._rows, places[kept], 1)

    def _known(self, value: Any) -> int:
        """The place of an id, a new one if need be; -1 for the missing id."""
        value = text(value) if self.feature.dtype == "string" else value
        if value is None or value == MISSING_ID[self.feature.dtype or "string"]:
            return -1
        place = self._place.setdefault(value, len(self._place))
        if place == len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        return place

    def adapted(self) -> TargetRates:
        """The feature with what was counted; ids by their rows, the most frequent first, ties in the order of the ids."""
        feature = self.feature
        with np.errstate(invalid="ignore"):
            base = self._totals[:, 0] / self._totals[:, 1]
        alike = [task for task, rate in zip(feature.tasks or (), base, strict=True) if not 0 < rate < 1]
        if alike:
            raise ValueError(f"The labels of {alike} are all alike or missing: {feature.name!r} has no rates to learn.")
        known = sorted(
            (-self._rows[place], value)
            for value, place in self._place.items()
            if self._rows[place] >= feature.min_count
        )
        if not known:
            raise ValueError(
                f"Column {feature.column!r} has no id that occurs `min_count` times. Received: min_count={feature.min_count}"
            )
        vocabulary = tuple(value for _, value in known)
        counts = self._counts[[self._place[value] for value in vocabulary]].swapaxes(0, 1)
        return replace(
            feature,
            vocabulary=vocabulary,
            base_rates=tuple(base.tolist()),
            counts=packed_counts(counts),
        )

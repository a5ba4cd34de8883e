"""Learns vocabularies, bins, means and base rates from data, in one pass, and lets vocabularies grow."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.checks import check_count
from tfmtl.data.columns import numbers_column
from tfmtl.data.label_statistics import LabelStatistics
from tfmtl.data.splitting import NO_ID, items_of_tensor, split_ids, split_numbers
from tfmtl.data.summaries import IdCounts, Moments, Quantiles, as_array
from tfmtl.data.target_rates import TargetRateCounts
from tfmtl.paths import digest_of
from tfmtl.progress import Verbose, number_of_batches, with_progress
from tfmtl.row_errors import as_raised
from tfmtl.schema import Categorical, Feature, Numeric, Schema, Sequence, TargetRates
from tfmtl.schema.schema import lookups, table_readers

Summary = IdCounts | Moments | Quantiles


def adapt(schema: Schema, dataset: Iterable[Any], *, verbose: Verbose = "auto") -> Schema:
    """Learns what the features of `schema` still lack, and returns a new schema that holds it.

    - `vocabulary="adapt"`: the ids that occur `min_count` times or more, the most frequent first, ties in the order of
      the ids. Features of one table learn one vocabulary from all their columns. Missing ids never enter.
    - `transform="buckets"`: at most `num_buckets` bins of nearly equal mass; a value that repeats often has its own.
    - `transform="standardize"`: mean and standard deviation of each position; a constant column gets deviation 1. Where
      `flag_missing` is None, whether any value was missing, and so whether the model reads flags: adapt on enough rows.
    - `embedding`: the digest of the file, by which `build` knows it again.
    - `TargetRates`: positives and labelled rows of each id, in each fold.
    - Of every task the mean of its labels, of a regression their variance too, over the rows that count. Towers start at
      the mean, and `objectives` measures a task's loss by it. A task whose labels are all alike is worth a warning.

    NaN and infinite numbers are left out. What a feature already holds stays as it is.

    Args:
        schema: features and tasks.
        dataset: batches of raw columns, a finite `tf.data.Dataset` (for example of `read`) or any iterable, of
            `{column: array}` or of tuples that start with it and go on with `{task: labels}`. Read once, with memory for
            the distinct ids of each table and for 65,536 distinct values of each bucketed column. Without labels, nothing
            is learned of the tasks.
        verbose: 1 shows a progress bar over the batches, 0 does not; `"auto"` does in a terminal.

    Returns:
        An adapted schema; `schema` itself where nothing is to be learned.

    Raises:
        ValueError: an empty or infinite dataset, a missing column, a column of another type than its feature, or one
            where nothing can be learned because every value is missing or too rare.

    Example:

    >>> from tfmtl.data import adapt
    >>> from tfmtl.schema import Categorical, Schema, Task
    >>> schema = Schema([Categorical("city", vocabulary="adapt")], [Task("click")])
    >>> adapt(schema, [{"city": ["Rome", "Oslo", "", "Rome"]}]).feature("city").vocabulary
    ('Rome', 'Oslo')
    """
    schema = _with_digests(schema)
    if schema.is_adapted and all(task.is_measured for task in schema.tasks):
        return schema
    summaries, labels = _Summaries(schema), LabelStatistics(schema.tasks)
    rates = {
        feature.name: TargetRateCounts(feature, schema)
        for feature in schema.features
        if isinstance(feature, TargetRates) and not feature.is_adapted
    }
    batches = _raw_batches(dataset, may_be_empty=schema.is_adapted)
    with as_raised():
        for columns, given in with_progress(batches, verbose, "batch", number_of_batches(dataset)):
            summaries.update(columns)
            labels.update(given)
            for counts in rates.values():
                counts.update(columns, given)
    features = tuple(
        rates[feature.name].adapted() if feature.name in rates else summaries.adapted(feature)
        for feature in schema.features
    )
    return replace(schema, features=features, tasks=labels.measured())


def _with_digests(schema: Schema) -> Schema:
    """The schema with the digests of files of vectors that it lacks."""

    def noted(field: Categorical) -> Categorical:
        if field.embedding is None or field.embedding_digest is not None:
            return field
        return replace(field, embedding_digest=digest_of(field.embedding, "embedding"))

    features: list[Feature] = []
    for feature in schema.features:
        if isinstance(feature, Categorical):
            features.append(noted(feature))
        elif isinstance(feature, Sequence):
            features.append(replace(feature, fields=tuple(map(noted, feature.fields))))
        else:
            features.append(feature)
    return schema if tuple(features) == schema.features else replace(schema, features=tuple(features))


def extend(
    schema: Schema,
    dataset: Iterable[Any],
    tables: Iterable[str] | str,
    *,
    min_count: int = 1,
    verbose: Verbose = "auto",
) -> Schema:
    """Appends the ids that are new in `dataset` to the vocabularies of `tables`, and returns a new schema that holds them.

    What the schema holds already keeps its place and its rows, so a model of the new schema can go on from the weights of
    one of the old (`tfmtl.models.warm_start`).

    Args:
        schema: adapted.
        dataset: as in `adapt`.
        tables: whose vocabularies grow. A table is called like its feature, or as the feature's `table` says.
        min_count: how often an id must occur in `dataset` to get a row of its own.
        verbose: as in `adapt`.

    Raises:
        ValueError: a schema that was never adapted, a table that it lacks or that has no vocabulary, a `min_count` below 1,
            or what `adapt` refuses of a dataset.

    Example:

    >>> from tfmtl.data import extend
    >>> from tfmtl.schema import Categorical, Schema, Task
    >>> schema = Schema([Categorical("city", vocabulary=("Rome", "Oslo"))], [Task("click")])
    >>> extend(schema, [{"city": ["Rome", "Lima"]}], ["city"]).feature("city").vocabulary
    ('Rome', 'Oslo', 'Lima')
    """
    if not schema.is_adapted:
        raise ValueError("The schema was never adapted: call `schema = tfmtl.adapt(schema, dataset)` first.")
    min_count = check_count("min_count", min_count)
    known: dict[str, Any] = {
        table: field.vocabulary for table, field in table_readers(schema.features) if field.vocabulary
    }
    wanted = {tables} if isinstance(tables, str) else set(tables)
    if wanted - set(known):
        raise ValueError(
            f"`tables` names {sorted(wanted - set(known))}, which are no tables with a vocabulary. Known: {sorted(known)}"
        )
    summaries = _Summaries(_with_vocabularies(schema, dict.fromkeys(wanted, "adapt")))
    with as_raised():
        for columns, _ in with_progress(_raw_batches(dataset), verbose, "batch", number_of_batches(dataset)):
            summaries.update(columns)
    found = {table: summaries.by_table[table].frequent(min_count) for table in wanted}
    return _with_vocabularies(schema, {table: _appended(known[table], ids) for table, ids in found.items()})


def _with_vocabularies(schema: Schema, vocabularies: Mapping[str, Any]) -> Schema:
    """`schema` with other vocabularies of some tables."""

    def changed(field: Categorical, table: str) -> Categorical:
        return replace(field, vocabulary=vocabularies[table]) if table in vocabularies else field

    def of(feature: Feature) -> Feature:
        if isinstance(feature, Categorical):
            return changed(feature, feature.table_name)
        if isinstance(feature, Sequence):
            return replace(feature, fields=tuple(changed(f, feature.table_name(f)) for f in feature.fields))
        return feature

    return replace(schema, features=tuple(of(feature) for feature in schema.features))


def _appended(known: tuple[Any, ...], found: Iterable[Any]) -> tuple[Any, ...]:
    old = set(known)
    return known + tuple(value for value in found if value not in old)


_NO_BATCHES = (
    "`dataset` must be batches of `{column: array}`, such as those of `tfmtl.read(source, schema, batch_size=...)`."
)


def _raw_batches(dataset: Iterable[Any], *, may_be_empty: bool = False) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """The raw columns of each batch and what follows them, None if nothing; ValueError if there are batches without end, or none."""
    if isinstance(dataset, tf.data.Dataset) and dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("The dataset is infinite and would be read forever: pass `dataset.take(batches)`.")
    if not isinstance(dataset, Iterable):
        raise ValueError(f"{_NO_BATCHES} Received: dataset={dataset!r}")
    empty = True
    for batch in dataset:
        columns, labels = (batch[0], *batch[1:], None)[:2] if isinstance(batch, tuple) else (batch, None)
        if not isinstance(columns, Mapping):  # what a path, a dict or a DataFrame is made of
            raise ValueError(f"{_NO_BATCHES} Received: dataset of {type(dataset).__name__}")
        yield columns, labels
        empty = False
    if empty and not may_be_empty:
        raise ValueError("The dataset is empty: there is nothing to learn from.")


class _Summaries:
    """One summary for each table and each numeric feature that has something to learn."""

    def __init__(self, schema: Schema):
        self.by_table: dict[str, IdCounts] = {}
        self.by_name: dict[str, Moments | Quantiles] = {}
        self.readers: list[tuple[str, Summary]] = []  # (column, summary)
        self.columns_of: dict[str, list[str]] = {}  # table: its columns, for messages
        texts = [f for f in schema.features if isinstance(f, Numeric | Sequence) and f.separator]
        self.split = [feature for feature in texts if isinstance(feature, Sequence) or not feature.is_adapted]
        for column, table, field in lookups(schema.features):
            if not field.is_adapted:
                self.columns_of.setdefault(table, []).append(column)
                self.readers.append((column, self.by_table.setdefault(table, IdCounts(field.dtype))))
        for feature in schema.features:
            if isinstance(feature, Numeric) and not feature.is_adapted:
                self.by_name[feature.name] = Quantiles() if feature.transform == "buckets" else Moments(feature.size)
                self.readers.append((feature.name, self.by_name[feature.name]))

    def update(self, x: Mapping[str, Any]) -> None:
        missing = [column for column, _ in self.readers if column not in x]
        if missing:
            raise ValueError(f"Columns {missing} are missing. Received: {sorted(x)}")
        x = {**x, **{column: items for feature in self.split for column, items in _items_of(feature, x).items()}}
        for column, summary in self.readers:
            values = as_array(x[column])
            try:
                summary.update(values if isinstance(summary, IdCounts) else _numbers(values))
            except ValueError as error:
                raise ValueError(f"Column {column!r} {error}") from error

    def adapted(self, feature: Feature) -> Feature:
        """The feature with what was learned; `TargetRates` learn from labels, elsewhere."""
        if feature.is_adapted or isinstance(feature, TargetRates):
            return feature
        if isinstance(feature, Categorical):
            return self._with_vocabulary(feature, feature.table_name)
        if isinstance(feature, Sequence):
            fields = (self._with_vocabulary(field, feature.table_name(field)) for field in feature.fields)
            return replace(feature, fields=tuple(fields))
        summary = self.by_name[feature.name]
        try:
            if isinstance(summary, Quantiles):
                return replace(feature, boundaries=summary.boundaries(feature.num_buckets))
            mean, std = summary.statistics()
            flag = summary.any_missing if feature.flag_missing is None else feature.flag_missing
            return replace(feature, mean=mean, std=std, flag_missing=flag)
        except ValueError as error:
            raise ValueError(f"Column {feature.name!r} {error}") from error

    def _with_vocabulary(self, field: Categorical, table: str) -> Categorical:
        if field.is_adapted:
            return field
        try:
            vocabulary = self.by_table[table].vocabulary(field.min_count)
        except ValueError as error:
            raise ValueError(f"Column {' and '.join(map(repr, self.columns_of[table]))} {error}") from error
        return replace(field, vocabulary=vocabulary, min_count=1, dtype=self.by_table[table].dtype)


def _items_of(feature: Numeric | Sequence, x: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the texts of a history or of vectors hold; ValueError where these are no vectors, or ids no integers that should be."""
    columns = feature.columns if isinstance(feature, Numeric) else feature.id_columns
    texts = {column: tf.convert_to_tensor(x[column]) for column in columns if column in x}
    wrong = [column for column, values in texts.items() if values.dtype != tf.string]
    if wrong:
        raise ValueError(
            f"Columns {wrong} must hold texts with {feature.separator!r} between what they list. "
            f"Received: {[texts[column].dtype.name for column in wrong]}"
        )
    if isinstance(feature, Numeric):
        return {column: _vectors_of(feature, values) for column, values in texts.items()}
    found = split_ids(feature, texts)
    wrong = [column for column, ids in found.items() if ids.dtype == tf.int64 and NO_ID in ids.flat_values.numpy()]
    if wrong:
        raise ValueError(f"Columns {wrong} must hold integers with {feature.separator!r} between them.")
    return found


def _vectors_of(feature: Numeric, texts: tf.Tensor) -> tf.Tensor:
    """The vectors that texts hold; ValueError of the first that holds none and is not empty."""
    counts, wrong = items_of_tensor(texts, numbers_column(feature))
    wrong |= (counts != feature.size) & (counts > 0)
    if np.any(wrong):
        raise ValueError(
            f"Column {feature.name!r} must hold {feature.size} numbers with {feature.separator!r} between them. "
            f"Received: {texts[np.argmax(wrong)].numpy()!r}"
        )
    return split_numbers(feature, texts)


def _numbers(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiub":
        raise ValueError(f"must hold numbers. Received: {values.dtype}")
    return values.astype("float32")  # what the preprocessor will compare with the edges

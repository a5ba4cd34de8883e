"""Files and tables to batches of raw columns and labels."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import tensorflow as tf

from tfmtl.checks import check_count, check_option
from tfmtl.data.chunks import ArrowSource
from tfmtl.data.columns import check_present, plan, wanted
from tfmtl.data.csv_format import CsvFormat
from tfmtl.data.generated import generated
from tfmtl.data.labels import Labels
from tfmtl.data.preprocessing import Preprocessor, encoded_columns
from tfmtl.data.skipped import Skipped
from tfmtl.data.sources import open_source
from tfmtl.data.workers import check_alone, steps_of_workers, warn_of_python, with_steps, workers_of_cluster
from tfmtl.schema import Schema
from tfmtl.typing import Tensor

OnError: TypeAlias = Literal["raise", "skip"]

SHUFFLE_ROWS = 1 << 18
"""The window of `shuffle=True`."""


def read(
    source: Any,
    schema: Schema,
    *,
    batch_size: int,
    shuffle: bool | int = False,
    seed: int | None = None,
    shard: tuple[int, int] = (0, 1),
    drop_remainder: bool = False,
    columns: Iterable[str] = (),
    labels: bool = True,
    encode: bool | Preprocessor = False,
    optional: Iterable[str] = (),
    csv: CsvFormat | None = None,
    storage_options: Mapping[str, Any] | None = None,
    on_error: OnError = "raise",
) -> tf.data.Dataset:
    """Reads batches `(x, y)`: the columns that the features of `schema` need, and the labels of its tasks.

    With `encode=True` `x` is what a model of `schema` reads: row numbers, numbers, histories with their mask. Without, it is
    what `adapt` learns from and an export takes, `{column: tensor}` as `Preprocessor` takes it: text `(B,)` with `""` where
    missing, ids `(B,)` int64 with -1, numbers `(B,)` or `(B, size)` float32 with NaN, histories `(B, length)`, their last
    `length` events, padded at the end; a position where every field is missing is no event.
    `y` is `{task: (B,) float32}`, NaN where the label is missing or the row outside the task's sample space.

    Only columns that are needed are read, in an order that depends on `seed` alone; of Parquet several row groups are decoded at
    a time, of CSV a block of 4 MB.

    Args:
        source: Parquet (`.parquet`, `.pq`), CSV (`.csv`, `.tsv`, also `.gz`) or `tf.train.Example` records (`.tfrecord`,
            `.tfrecords`, also `.gz`; with `csv`, a file of any other suffix is CSV), as a path, a folder, a glob pattern or a
            list of these; Parquet and CSV also behind a URL such as `s3://bucket/folder`, with the extra `remote`. Or, in
            memory, a DataFrame of pandas or Polars, a LazyFrame, an Arrow table or dataset, a HuggingFace Dataset, whatever else has an Arrow stream, a dict of equally
            long arrays, tensors or lists, or rows as dicts. A column that no Parquet or CSV file has is taken from the folders'
            names, as in `date=2026-11-01/part-0.parquet`.
        schema: features, adapted or not, and tasks.
        batch_size: rows a batch; of all replicas together under a `tf.distribute` strategy.
        shuffle: rows to draw from, True for 262,144. Each pass takes files and row groups in another order, and draws
            rows at random from a window of so many, held in memory (about 4 bytes for a text, beside the different texts
            in it, and at most 8 for a number).
        seed: makes the order of every pass reproducible. None takes it from NumPy's global state, which
            `keras.utils.set_random_seed` sets.
        shard: `(i, n)`: part i of n parts that share no row, for example of worker i of n, which needs it to shuffle. Parquet
            files and tables are cut into ranges of equal length, to one row; CSV and TFRecord files are dealt out if their
            number is a multiple of n, otherwise each part keeps every n-th row.
        drop_remainder: leaves out a last batch that is not full.
        columns: more columns to hand on in `x`, for example a user id for per-user metrics: text, int64 or float64.
        labels: False reads `x` alone, from files that need no labels.
        encode: True gives batches to `fit`, `evaluate` and `predict`, for which `schema` must be adapted: it applies
            `Preprocessor(schema.features, passthrough=columns)`. A `Preprocessor` with other options is applied as it is, such
            as one with `out_of_fold=False` for labelled rows that `adapt` never saw, where there are `TargetRates`.
        optional: columns of features, as batches call them, that a file may lack, such as an older one: there, every value is
            missing.
        csv: how CSV files are written, where they are not as usual: delimiter, encoding, names of columns.
        storage_options: passed on to fsspec for a URL: credentials, endpoints.
        on_error: `"skip"` takes a value that does not fit its column, or a label that its task cannot have, for a missing one, and
            leaves out lines of CSV with another number of values than the header; at the end of each pass a warning counts
            them and quotes the first. A vector of another length is missing as a whole; weights of another number than their
            ids are, and the ids stay; a history whose columns differ in length has no event. Not for TFRecord files.

    Returns:
        A dataset that ends after one pass. For Parquet and tables it knows its number of batches, unless it is a shard. A
        worker of a multi-worker strategy takes its share of batches by itself, unless `shard` has already given it its rows:
        then, of Parquet and tables, batches without a row follow, so that all workers take equally many steps; of other files
        `fit` needs `steps_per_epoch`.

    Raises:
        FileNotFoundError: no file.
        ValueError: at once, an unknown format, an empty source, a missing column or one of another type, a file that
            cannot be read, shuffling without a shard in one of several workers. While reading, wrapped by TensorFlow: a
            value that does not fit, a label other than 0, 1 or missing for a binary task. Messages name the file, the
            column and the first bad row, counted from 0.

    Example:

    >>> import pyarrow as pa
    >>> from tfmtl.data import adapt, read
    >>> from tfmtl.schema import Categorical, Schema, Task
    >>> rows = pa.table({"city": ["Rome", "Oslo"], "click": [1, 0]})
    >>> schema = Schema([Categorical("city", vocabulary="adapt")], [Task("click")])
    >>> schema = adapt(schema, read(rows, schema, batch_size=2))
    >>> x, y = next(iter(read(rows, schema, batch_size=2, encode=True)))
    >>> x["city"].numpy().tolist(), y["click"].numpy().tolist()
    ([2, 1], [1.0, 0.0])
    """
    _check_arguments(batch_size, shuffle, shard)
    if shuffle and shard[1] == 1:
        check_alone()
    extra = (columns,) if isinstance(columns, str) else tuple(columns)
    encoder = Preprocessor(schema.features, passthrough=_beside(schema, extra)) if encode is True else encode
    names = wanted(schema, extra, labels)
    check_option("on_error", on_error, OnError)
    skipped = Skipped() if on_error == "skip" else None
    opened = open_source(source, names, _optional(schema, optional), csv, storage_options, skipped)
    for file, physical in zip(opened.files, opened.physical, strict=True):
        check_present(file, names, physical)
    planned = plan(schema, opened.physical, extra, labels)
    opened.check(planned)

    if encoder and isinstance(opened, ArrowSource):
        warn_of_python()

    window = SHUFFLE_ROWS if shuffle is True else int(shuffle)
    seed = int(np.random.randint(1 << 31)) if seed is None else seed
    chunks, num_rows = opened.chunks(planned, shard, window, seed)
    make_labels = Labels(schema.tasks, opened.files, skipped)

    @tf.autograph.experimental.do_not_convert
    def split(chunk: dict[str, Tensor]) -> Any:
        x = {column.key: chunk[column.key] for column in planned if not column.label}
        return (x, make_labels(chunk)) if labels else x

    dataset = chunks.map(split, num_parallel_calls=tf.data.AUTOTUNE).rebatch(batch_size, drop_remainder)
    if skipped is not None:
        dataset = dataset.concatenate(_at_end(dataset, skipped.report))
    batches = None if num_rows is None else _batches(num_rows, batch_size, drop_remainder, shard)
    if batches is not None and shard[1] == 1:  # a strategy would take a shard's number for that of all workers
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches))
    elif batches is not None and opened.num_rows is not None and shard[1] == workers_of_cluster():
        dataset = with_steps(dataset, batches, steps_of_workers(opened.num_rows, batch_size, drop_remainder))
    if encoder:
        dataset = dataset.map(encoder, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(2).with_options(_options(sharded=shard[1] > 1))


def _at_end(dataset: tf.data.Dataset, act: Callable[[], None]) -> tf.data.Dataset:
    """No further element of `dataset`; asked for one, it calls `act`."""

    def nothing() -> Iterator[Any]:
        act()
        yield from ()

    return generated(nothing, dataset.element_spec)


def _optional(schema: Schema, columns: Iterable[str]) -> tuple[str, ...]:
    """What files call the optional columns."""
    given = (columns,) if isinstance(columns, str) else tuple(columns)
    unknown = [column for column in given if column not in schema.sources]
    if unknown:
        raise ValueError(
            f"`optional` must name columns of features. Received: {unknown}; known: {list(schema.feature_columns)}"
        )
    return tuple(schema.sources[column] for column in given)


def _beside(schema: Schema, columns: Iterable[str]) -> tuple[str, ...]:
    """Those of `columns` that do not come out encoded under their own names."""
    encoded = {column for feature in schema.features for column in encoded_columns(feature)}
    return tuple(name for name in dict.fromkeys(columns) if name not in encoded)


def _batches(num_rows: int, batch_size: int, drop_remainder: bool, shard: tuple[int, int]) -> int:
    """How many batches these rows make; ValueError if none."""
    if drop_remainder and num_rows < batch_size:
        raise ValueError(
            f"`drop_remainder=True` leaves no batch of {num_rows} rows. Received: batch_size={batch_size}, shard={shard}"
        )
    return num_rows // batch_size if drop_remainder else -(-num_rows // batch_size)


def _options(sharded: bool) -> tf.data.Options:
    """A strategy of several workers may not shard by file: a Python generator has none that it knows of. It deals out
    batches instead, and nothing at all where the rows are dealt out already."""
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy
    options.experimental_distribute.auto_shard_policy = policy.OFF if sharded else policy.DATA
    return options


def _check_arguments(batch_size: int, shuffle: bool | int, shard: tuple[int, int]) -> None:
    check_count("batch_size", batch_size)
    if shuffle < 0:
        raise ValueError(f"`shuffle` must be True, False or a number of rows. Received: shuffle={shuffle}")
    if not 0 <= shard[0] < shard[1]:
        raise ValueError(f"`shard` must be (i, n) with 0 <= i < n. Received: shard={shard}")

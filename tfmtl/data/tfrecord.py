"""TFRecord files of `tf.train.Example`, parsed by TensorFlow alone.

Such a dataset is a graph without Python in it, but for the number of a shuffled pass: a parameter server strategy can send it
to its workers.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import tensorflow as tf
from google.protobuf.message import DecodeError

from tfmtl.data.columns import NO_INTEGER, Column, Physical, check_types
from tfmtl.data.generated import generated
from tfmtl.data.labels import FILE, ROW
from tfmtl.data.splitting import items_in_words, items_of_tensor
from tfmtl.data.store import LOCAL, Store
from tfmtl.data.workers import under_parameter_servers
from tfmtl.passes import PassCounter
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.typing import Tensor

_CHUNK_ROWS = 1 << 12
_FILES_AT_A_TIME = 4
_BLOCK = 256
"""Records of a file that are counted at a time."""
_FRAME_BYTES = 16
"""What a file holds of each record beside it: its length, and checksums of both."""
_GZIP_SIZES = 1 << 32
"""The size that a compressed file tells is modulo this."""
_LOOK_AT = 100
"""Records of the first file that are searched for columns: a record may lack those that are missing in it."""
_KINDS = {"bytes_list": pa.string(), "int64_list": pa.int64(), "float_list": pa.float32()}

_OF_DTYPE: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float32(),
}
"""What a column of which there is no value is parsed as."""


class TfrecordSource:
    """TFRecord files, all with the columns of the first, plain or gzipped."""

    num_rows = None  # they do not say

    def __init__(self, files: tuple[str, ...], store: Store):
        if store != LOCAL:
            raise ValueError(
                "TFRecord files are read by TensorFlow, from this machine: copy them, or mount their store. "
                f"Received: {files[0]!r}"
            )
        self.files = files
        found = [_first_types(file) for file in files]
        if not any(found):
            raise ValueError(f"There is no record to read. Received: {list(files)}")
        everywhere = dict(chain.from_iterable(physical.items() for physical in reversed(found)))
        # A record does not tell a column that it lacks from one that the file lacks.
        self.physical: list[Physical] = [{**everywhere, **physical} for physical in found]

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a column is of another type than needed, or of different types in different files."""
        for file, physical in zip(self.files, self.physical, strict=True):
            # Every feature is a list in a tf.train.Example.
            scalars = [replace(column, width=None) for column in columns]
            check_types(file, scalars, physical)
            for column in columns:
                if physical[column.name] != self.physical[0][column.name]:
                    raise ValueError(
                        f"{file}: column {column.name!r} must hold {self.physical[0][column.name]} as in "
                        f"{self.files[0]}. Received: {physical[column.name]}"
                    )

    def chunks(
        self, columns: Sequence[Column], shard: tuple[int, int], window: int, seed: int
    ) -> tuple[tf.data.Dataset, None]:
        """Chunks of rows as `{key: tensor}`, with `FILE` and `ROW` of every row, and None: their number is not known."""
        index, count = shard
        numbered = [(number, file, _size(file)) for number, file in enumerate(self.files)]
        by_file = len(numbered) % count == 0
        if by_file:
            numbered = numbered[index::count]
        numbers, paths, sizes = map(list, zip(*numbered, strict=True))
        files = tf.data.Dataset.from_tensor_slices((numbers, paths, tf.constant(sizes, tf.int64)))

        @tf.autograph.experimental.do_not_convert
        def records(number: Tensor, file: Tensor, size: Tensor) -> tf.data.Dataset:
            rows = _numbered_records(number, file, size)
            return rows if by_file else rows.shard(count, index)

        def read(files: tf.data.Dataset) -> tf.data.Dataset:
            # A fixed number of files at a time: the order must not depend on the machine's cores.
            return files.interleave(records, _FILES_AT_A_TIME, num_parallel_calls=_FILES_AT_A_TIME, deterministic=True)

        @tf.autograph.experimental.do_not_convert
        def one_pass(number: Tensor) -> tf.data.Dataset:
            drawn = tf.random.stateless_uniform((), [seed, number], minval=None, maxval=None, dtype=tf.int64)
            shuffled = read(files.shuffle(len(numbered), drawn, reshuffle_each_iteration=False))
            return shuffled.shuffle(window, drawn, reshuffle_each_iteration=False)

        if not window:
            dataset = read(files)
        elif under_parameter_servers():  # which send the graph to other machines, without Python's counter
            dataset = read(files.shuffle(len(numbered), seed)).shuffle(window, seed)
        else:
            passes = PassCounter(seed)
            number = tf.TensorSpec((), tf.int64)
            dataset = generated(lambda: iter([next(passes)]), number).flat_map(one_pass)

        @tf.autograph.experimental.do_not_convert
        def parse(file: Tensor, row: Tensor, record: Tensor) -> dict[str, Tensor]:
            return self._parse(columns, {FILE: file, ROW: row}, record)

        return dataset.batch(_CHUNK_ROWS).map(parse, num_parallel_calls=tf.data.AUTOTUNE), None

    def _parse(self, columns: Sequence[Column], origin: dict[str, Tensor], records: Tensor) -> dict[str, Tensor]:
        """The columns of many records at once; TensorFlow's errors begin with a record's file and row."""
        names = tf.strings.join([tf.gather(tf.constant(self.files), origin[FILE]), ": row ", tf.as_string(origin[ROW])])
        features = {column.name: _feature(column, self.physical[0][column.name]) for column in columns}
        parsed = tf.io.parse_example(records, features, example_names=names)
        together: dict[str, dict[str, Column]] = {}  # the columns of each history, and those of vectors in texts
        for column in columns:
            if column.sequence is not None or column.separator is not None:
                together.setdefault(column.sequence or column.key, {})[column.name] = column
        for fields in together.values():
            values = {name: parsed[name] for name in fields}
            texts = next(iter(fields.values())).separator is not None
            parsed |= _checked_texts(fields, values, names) if texts else _events(fields, values, names)
        return origin | {column.key: _converted(column, parsed[column.name]) for column in columns}


def _numbered_records(number: Tensor, file: Tensor, size: Tensor) -> tf.data.Dataset:
    """The records of a file, each with `number` and its place among them; one that cannot be read fails in words.

    TensorFlow says what is wrong with a record, and not in which file. So the records end before one that cannot be read; then
    they are fewer bytes than the file holds.

    Args:
        number: of the file.
        file: its path.
        size: of its records in bytes, modulo 2^32 where it is compressed.
    """
    gzipped = tf.strings.regex_full_match(file, r".*\.gz")
    raw = tf.data.TFRecordDataset(file, tf.where(gzipped, "GZIP", ""))
    end = tf.data.Dataset.from_tensors(tf.constant([], tf.string))  # what is batched is never empty

    def is_whole(read: Tensor) -> Tensor:
        # Compressed files may be several in one, of which the end tells the size of the last. These are read once more.
        as_written = tf.where(gzipped, read % _GZIP_SIZES, read) == size
        return tf.cond(
            tf.logical_or(as_written, tf.logical_not(gzipped)), lambda: as_written, lambda: _is_readable(raw)
        )

    @tf.autograph.experimental.do_not_convert
    def counted(state: tuple[Tensor, Tensor], records: Tensor) -> Any:
        first, read = state
        count = tf.size(records, tf.int64)
        whole = tf.cond(count > 0, lambda: True, lambda: is_whole(read))
        message = [
            file,
            ": not a readable TFRecord file: row ",
            tf.as_string(first),
            " is cut off, corrupt or being written",
        ]
        read += tf.reduce_sum(tf.cast(tf.strings.length(records), tf.int64) + _FRAME_BYTES)
        with tf.control_dependencies([tf.debugging.Assert(whole, [tf.strings.join(message)])]):
            places = tf.range(first, first + count)
        return (first + count, read), (tf.fill(tf.shape(records), tf.cast(number, tf.int64)), places, records)

    zero = tf.constant(0, tf.int64)
    return raw.ignore_errors().batch(_BLOCK).concatenate(end).scan((zero, zero), counted).unbatch()


def _is_readable(records: tf.data.Dataset) -> Tensor:
    """Whether records can be read to their end."""
    attempt = tf.data.Dataset.from_tensors(0).map(lambda _: records.reduce(0, lambda count, _: count + 1))
    return attempt.ignore_errors().reduce(False, lambda *_: True)


def _size(file: str) -> int:
    """How many bytes the records of a file are, modulo 2^32 where it is compressed."""
    path = Path(file)
    if path.suffix != ".gz":
        return path.stat().st_size
    with path.open("rb") as opened:
        opened.seek(-4, os.SEEK_END)
        return int.from_bytes(opened.read(), "little")


def _first_types(file: str) -> Physical:
    """The columns of a file's first records."""
    found: dict[str, pa.DataType] = {}
    try:
        for record in tf.data.TFRecordDataset(file, "GZIP" if file.endswith(".gz") else "").take(_LOOK_AT):
            features = tf.train.Example.FromString(record.numpy()).features.feature
            kinds = {name: feature.WhichOneof("kind") for name, feature in features.items()}
            found = {name: _KINDS[kind] for name, kind in kinds.items() if kind} | found
    except (tf.errors.OpError, DecodeError) as error:
        raise ValueError(f"{file}: not a readable TFRecord file of tf.train.Example: {error}") from error
    return found


def _feature(column: Column, found: pa.DataType) -> tf.io.FixedLenFeature | tf.io.RaggedFeature:
    dtype, missing = {
        pa.string(): (tf.string, MISSING_ID["string"]),
        pa.int64(): (tf.int64, NO_INTEGER),
        pa.float32(): (tf.float32, math.nan),
    }[_OF_DTYPE[column.dtype] if found == pa.null() else found]
    if column.sequence is not None and column.width is not None:
        return tf.io.RaggedFeature(dtype)
    if column.width is not None:
        return tf.io.FixedLenFeature((column.width,), dtype, [missing] * column.width)
    return tf.io.FixedLenFeature((), dtype, missing)


def _converted(column: Column, values: Tensor) -> Tensor:
    if isinstance(values, tf.RaggedTensor):
        if column.weighs:
            values = values.with_flat_values(_converted(column, values.flat_values))
        return values[:, -(column.width or 0) :].to_tensor(
            MISSING_ID.get(column.dtype, math.nan), shape=(None, column.width)
        )
    if values.dtype == tf.string:
        return values
    if column.dtype == "int64":
        return tf.where(values == NO_INTEGER, tf.constant(column.missing_integer, tf.int64), values)
    numbers = tf.cast(values, column.dtype)
    missing = tf.constant(math.nan, column.dtype)
    return tf.where(values == NO_INTEGER, missing, numbers) if values.dtype == tf.int64 else numbers


def _events(fields: dict[str, Column], values: dict[str, Tensor], names: Tensor) -> dict[str, Tensor]:
    """The fields of a history without the positions where every one is missing, as `pack_events` drops them.

    They must be equally long, but for a row without weights; a difference fails when the batch is read.
    """
    lengths = {name: lists.row_lengths() for name, lists in values.items()}
    first = next(iter(values))
    with tf.control_dependencies(_equally_long(fields, lengths, names)):
        present = [
            lists.flat_values != MISSING_ID[lists.dtype.name]
            for name, lists in values.items()
            if not fields[name].weighs
        ]
        event = tf.reduce_any(tf.stack(present), axis=0)
        for name, column in fields.items():
            if column.weighs:
                absent, dtype = lengths[first] - lengths[name], values[name].dtype
                nothing = tf.constant(math.nan if dtype.is_floating else NO_INTEGER, dtype)
                missing = tf.fill([tf.reduce_sum(absent)], nothing)
                values[name] = tf.concat([values[name], tf.RaggedTensor.from_row_lengths(missing, absent)], axis=1)
    return {name: tf.ragged.boolean_mask(lists, lists.with_flat_values(event)) for name, lists in values.items()}


def _checked_texts(fields: dict[str, Column], texts: dict[str, Tensor], names: Tensor) -> dict[str, Tensor]:
    """The texts of a history or of vectors, which must hold what they should, and as many items; others fail when the batch is read."""
    lengths, checks = dict[str, Tensor](), []
    for name, column in fields.items():
        lengths[name], wrong = items_of_tensor(texts[name], column)
        message = f": column {name} must hold {items_in_words(column)}. Received: ".replace(
            "'", ""
        )  # TensorFlow escapes them
        row = tf.argmax(tf.cast(wrong, tf.int32))
        received = tf.strings.join([names[row], message, texts[name][row]])
        checks.append(tf.debugging.Assert(~tf.reduce_any(wrong), [received]))
    with tf.control_dependencies(checks + _equally_long(fields, lengths, names)):
        return {name: tf.identity(values) for name, values in texts.items()}


def _equally_long(fields: dict[str, Column], lengths: dict[str, Tensor], names: Tensor) -> list[Tensor]:
    """Checks that all columns of a history hold as many items as the first, or, of weights, none; and vectors their size."""
    first = next(iter(lengths))
    checks = []
    for name, found in lengths.items():
        column = fields[name]
        equal = found == (lengths[first] if column.sequence is not None else column.size)
        if column.may_hold_none:
            equal |= found == 0
        row = tf.argmin(tf.cast(equal, tf.int32))
        message = f": columns {first} and {name} must hold equally many items"
        if column.sequence is None:
            message = f": column {name} must hold {column.size} items, as the feature's size. Received: "
            message = tf.strings.join([message, tf.as_string(found[row])])
        checks.append(tf.debugging.Assert(tf.reduce_all(equal), [tf.strings.join([names[row], message])]))
    return checks

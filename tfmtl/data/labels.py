"""Labels from raw columns: NaN outside a task, never a number that means something else."""

import math
from collections.abc import Callable, Mapping

import tensorflow as tf

from tfmtl.data.columns import NO_INTEGER, label_key
from tfmtl.data.skipped import Skipped
from tfmtl.schema import Task
from tfmtl.schema.label_source import Comparison, LabelSource, question
from tfmtl.typing import Tensor

FILE, ROW = "origin:file", "origin:row"
"""Where a row comes from, for messages: the number of its file and of the row in it, from 0."""


class Labels:
    """Makes every task's label of the columns that `Task.label` and `Task.sample_space` name.

    ```
    y = column,  1[column = value],  1[column >= value]  or  the place of column's value among the task's classes
    y = NaN      where the column is missing or the row is outside the sample space
    ```

    A task with a `group` gets two numbers beside each label, equal where the column's values are: 24 bits of a hash each, which a
    float32 holds exactly. A row without a group cannot be compared, so its label is missing.

    Args:
        tasks: the tasks.
        files: names of the files, for messages.
        skipped: where to note labels that a task cannot have, which then are missing; None fails instead.
    """

    def __init__(self, tasks: tuple[Task, ...], files: tuple[str, ...], skipped: Skipped | None = None):
        self.tasks = tasks
        self.files = files
        self.skipped = skipped

    def __call__(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`{task: (B,) float32}`, of a task with a group `(B, 3)`; an invalid label fails when the batch is read, naming its file and row."""
        return {task.name: self._label(task, columns) for task in self.tasks}

    def _label(self, task: Task, columns: Mapping[str, Tensor]) -> Tensor:
        label = _values(columns, task.label or task.name) if task.classes is None else _class(task, columns)
        for condition in task.conditions:
            holds = _values(columns, condition)
            label = tf.where(tf.math.is_nan(holds) | (holds == 0), tf.constant(float("nan"), tf.float64), label)
        valid, expected = _valid(task, label)
        first = tf.argmin(tf.cast(valid, tf.int32))
        where = describe(self.files, columns, first)
        column = task.columns[0]
        wrong = f": column {column}, label of the {task.kind} task {task.name}, must be {expected}. Received: "
        shown = label if task.classes is None else columns[label_key(column)]
        found = (
            shown[first] if shown.dtype == tf.string else tf.as_string(shown[first], shortest=shown.dtype.is_floating)
        )
        message = tf.strings.join([where, wrong, found])
        label = tf.cast(label, tf.float32)
        if self.skipped is None:
            tf.debugging.Assert(tf.reduce_all(valid), [message])
        else:
            label = _without(valid, label, message, self.skipped)
        return label if task.group is None else _beside_groups(label, columns[label_key(task.group)])


def _without(valid: Tensor, label: Tensor, message: Tensor, skipped: Skipped) -> Tensor:
    """`label`, missing where it is not valid; those are noted."""
    wrong = tf.reduce_sum(tf.cast(~valid, tf.int64))

    def note() -> Tensor:
        with tf.control_dependencies([tf.numpy_function(skipped.note, [wrong, message], [])]):
            return tf.where(valid, label, math.nan)

    return tf.cond(wrong > 0, note, lambda: label)


def _valid(task: Task, label: Tensor) -> tuple[Tensor, str]:
    """Which labels the task can have, and what these are in words."""
    missing = tf.math.is_nan(label)
    rule = task.label_rule
    if rule.kind == "binary":
        return (label == 0) | (label == 1) | missing, "0, 1 or missing"
    if rule.kind == "multiclass":
        known = (label >= 0) & (label < rule.num_classes) & (label == tf.floor(label))
        classes = (
            f"the index of a class, 0 to {rule.num_classes - 1}," if task.classes is None else f"one of {task.classes}"
        )
        return known | missing, f"{classes} or missing"
    finite = ~tf.math.is_inf(tf.cast(label, tf.float32))
    if rule.kind == "nonnegative":
        return finite & ((label >= 0) | missing), "0 or more, finite as a float32, or missing"
    return finite, "finite or missing, as a float32"


def _class(task: Task, columns: Mapping[str, Tensor]) -> Tensor:
    """The place of each value among the classes, float64; -1 of one that is none of them, NaN where it is missing."""
    raw = columns[label_key(task.columns[0])]
    matches = [raw == tf.constant(_PYTHON[raw.dtype](value), raw.dtype) for value in task.classes or ()]
    found = tf.stack([tf.zeros_like(matches[0]), *matches], axis=-1)  # where none matches, the first does: -1
    place = tf.cast(tf.argmax(tf.cast(found, tf.int32), axis=-1), tf.float64) - 1.0
    return tf.where(_missing(raw), tf.constant(float("nan"), tf.float64), place)


def _beside_groups(label: Tensor, raw: Tensor) -> Tensor:
    """Labels with the numbers of their groups, `(B, 3)`."""
    text = raw if raw.dtype == tf.string else tf.as_string(raw)
    number = tf.strings.to_hash_bucket_fast(text, 1 << 48)
    halves = [tf.cast(half, tf.float32) for half in (number // (1 << 24), number % (1 << 24))]
    label = tf.where(_missing(raw), tf.constant(float("nan")), label)
    return tf.stack([label, *halves], axis=-1)


def describe(files: tuple[str, ...], columns: Mapping[str, Tensor], row: Tensor) -> Tensor:
    """`file: row n` of one row of a batch."""
    file = tf.gather(tf.constant(files), columns[FILE][row])
    return tf.strings.join([file, ": row ", tf.as_string(columns[ROW][row])])


def _values(columns: Mapping[str, Tensor], source: LabelSource) -> Tensor:
    """A column as float64, or 1 where it answers the question with yes and 0 where not; NaN where it is missing."""
    name, comparison, value = question(source)
    raw = columns[label_key(name)]
    # Compared in the column's own type: float64 takes large integers for one, and float32 holds no 0.1.
    found = _COMPARE[comparison](raw, tf.constant(_PYTHON[raw.dtype](value), raw.dtype)) if comparison else raw
    return tf.where(_missing(raw), tf.constant(float("nan"), tf.float64), tf.cast(found, tf.float64))


_COMPARE: dict[Comparison, Callable[[Tensor, Tensor], Tensor]] = {
    "==": tf.equal,
    ">=": tf.greater_equal,
    ">": tf.greater,
    "<=": tf.less_equal,
    "<": tf.less,
}
_PYTHON = {tf.string: str, tf.int64: int, tf.float32: float, tf.float64: float}


def _missing(raw: Tensor) -> Tensor:
    if raw.dtype == tf.string:
        return raw == ""
    return raw == NO_INTEGER if raw.dtype == tf.int64 else tf.math.is_nan(raw)

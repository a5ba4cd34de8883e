"""Labels from raw columns: NaN outside a task, never a number that means something else."""

from collections.abc import Callable, Mapping

import tensorflow as tf

from tfmtl.data.columns import NO_INTEGER, label_key
from tfmtl.schema import Task
from tfmtl.schema.label_source import Comparison, LabelSource, question
from tfmtl.typing import Tensor

FILE, ROW = "origin:file", "origin:row"
"""Where a row comes from, for messages: the number of its file and of the row in it, from 0."""


class Labels:
    """Makes every task's label of the columns that `Task.label` and `Task.sample_space` name.

    ```
    y = column,  1[column = value]  or  1[column >= value]
    y = NaN      where the column is missing or the row is outside the sample space
    ```

    Args:
        tasks: the tasks.
        files: names of the files, for messages.
    """

    def __init__(self, tasks: tuple[Task, ...], files: tuple[str, ...]):
        self.tasks = tasks
        self.files = files

    def __call__(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`{task: (B,) float32}`; an invalid label fails when the batch is read, naming its file and row."""
        return {task.name: self._label(task, columns) for task in self.tasks}

    def _label(self, task: Task, columns: Mapping[str, Tensor]) -> Tensor:
        label = _values(columns, task.label or task.name)
        for condition in task.conditions:
            holds = _values(columns, condition)
            label = tf.where(tf.math.is_nan(holds) | (holds == 0), tf.constant(float("nan"), tf.float64), label)
        if task.kind == "binary":
            valid, expected = (label == 0) | (label == 1) | tf.math.is_nan(label), "0, 1 or missing"
        else:
            valid, expected = ~tf.math.is_inf(tf.cast(label, tf.float32)), "finite or missing, as a float32"
        first = tf.argmin(tf.cast(valid, tf.int32))
        where = describe(self.files, columns, first)
        column = task.columns[0]
        wrong = f": column {column}, label of the {task.kind} task {task.name}, must be {expected}. Received: "
        found = tf.as_string(label[first], shortest=True)
        tf.debugging.Assert(tf.reduce_all(valid), [tf.strings.join([where, wrong, found])])
        return tf.cast(label, tf.float32)


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

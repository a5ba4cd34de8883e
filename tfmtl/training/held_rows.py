"""The rows of a dataset, encoded once and held in memory."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import ops
from tfmtl.label_checks import checked_labels, checked_weights
from tfmtl.schema import Task
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.training.codes import Codes

Columns = dict[str, np.ndarray]

_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STEP = np.uint64(0x9E3779B97F4A7C15)


class HeldRows:
    """The rows of a dataset, read and encoded once; batches of them come as often as a study trains.

    Rows are kept in an order of their own, which follows from what they hold: a dataset that is shuffled gives the same
    rows in the same order every time, with the same `fingerprint`.

    Args:
        dataset: `tf.data` batches `(x, y)` or `(x, y, sample_weight)`, ending; read once.
        columns: what `x` must hold once it is encoded. Other columns are kept too, but for text and rows of several lengths.
        tasks: whose labels to keep. A row without a label holds NaN.
        preprocessor: applied to `x` first; None where `dataset` is encoded.
        group: a column of `x` as it comes from `dataset`, whose values make groups of rows, such as the user's id.
        is_encoded: whether `group` holds row numbers of a feature, of which 0 stands for all unknown ids; a raw column
            says that a row has no group by `""`, -1 or NaN.
        name: of the part, for messages.

    Attributes:
        labels: by task, `(N,)` float32.
        weights: by task, `(N,)` float32; None where the dataset has no sample weights.
        groups: `(N,)` int32 numbers of the groups, -1 for none; None without `group`.
        fingerprint: of all columns, labels and weights, whatever order the rows came in.

    Raises:
        ValueError: a dataset that gives something else, never ends or is empty, a missing column or label, or labels and
            weights that a task cannot have.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        columns: Iterable[str],
        tasks: Iterable[Task],
        *,
        preprocessor: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        group: str | None = None,
        is_encoded: bool = False,
        name: str = "dataset",
    ):
        self.name = name
        self._tasks = tuple(tasks)
        self._check(dataset, group)
        kept, codes = self._read(dataset, tuple(columns), preprocessor, group, 0 if is_encoded else MISSING_ID["int64"])
        hashes = row_hashes(kept)
        order = np.argsort(hashes, kind="stable")
        self.fingerprint = hashlib.blake2b(hashes[order].tobytes(), digest_size=16).hexdigest()
        self.groups = None if codes is None else codes[order]
        self.labels = {task: labels[order] for task, labels in _popped(kept, "label ")}
        self._beside = {task: groups[order] for task, groups in _popped(kept, "group ")}
        self.weights = {task: weights[order] for task, weights in _popped(kept, "weight ")} or None
        self._check_labels()
        with tf.device("CPU:0"):
            self._columns = {name: tf.constant(column[order]) for name, column in _popped(kept, "column ")}

    def __len__(self) -> int:
        return len(self.labels[self._tasks[0].name])

    def batches(
        self, batch_size: int, columns: Iterable[str], tasks: Iterable[str] = (), *, seed: int | None = None
    ) -> tf.data.Dataset:
        """`(x, y)` or `(x, y, sample_weight)` of the named columns and tasks, `(x,)` without tasks.

        The last batch is as short as it comes.

        Args:
            batch_size: rows a batch.
            columns: of `x`.
            tasks: of `y` and of the weights.
            seed: all rows in another order at every pass, the same ones for the same seed; None keeps the order.
        """
        rows = len(self)
        with tf.device("CPU:0"):
            parts: list[dict[str, tf.Tensor]] = [{column: self._columns[column] for column in columns}]
            for values in (self.labels, self.weights):
                if values is not None and tasks:
                    parts.append({task: tf.constant(values[task]) for task in tasks})
            if tasks and self._beside:
                parts[1] |= {
                    task: tf.concat([parts[1][task][:, None], self._beside[task]], 1)
                    for task in tasks
                    if task in self._beside
                }

        def gather(places: tf.Tensor) -> tuple[dict[str, tf.Tensor], ...]:
            return tuple({name: tf.gather(values, places) for name, values in part.items()} for part in parts)

        steps = -(-rows // batch_size)
        if seed is None:
            places = tf.data.Dataset.range(rows).batch(batch_size)
        else:
            draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
            places = draws.flat_map(lambda draw: _shuffled(rows, batch_size, steps, seed, draw))
            places = places.apply(tf.data.experimental.assert_cardinality(steps))
        return places.map(gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)

    def _check(self, dataset: tf.data.Dataset, group: str | None) -> None:
        spec: Any = getattr(dataset, "element_spec", type(dataset).__name__)
        fits = isinstance(spec, tuple) and 2 <= len(spec) <= 3 and all(isinstance(part, dict) for part in spec[:2])
        if not fits:
            raise ValueError(
                f"`{self.name}` must give (x, y) or (x, y, sample_weight), x and y as dicts of columns, as a "
                f"tf.data.Dataset does. Received: {spec}"
            )
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(f"`{self.name}` never ends: leave out `repeat()`.")
        missing = [task.name for task in self._tasks if task.name not in spec[1]]
        if missing:
            raise ValueError(f"`{self.name}` has no labels of tasks {missing}. Received: y with {sorted(spec[1])}")
        if group is not None and group not in spec[0]:
            raise ValueError(
                f"`group` must be a column of x in `{self.name}`. Received: group={group!r}; known: {sorted(spec[0])}"
            )

    def _read(
        self, dataset: tf.data.Dataset, columns: tuple[str, ...], preprocessor: Any, group: str | None, no_group: int
    ) -> tuple[Columns, np.ndarray | None]:
        """Everything that is kept, by what it is, and the numbers of the groups, in the order in which it came."""
        found: dict[str, list[np.ndarray]] = {}
        codes = Codes((MISSING_ID["string"].encode(), no_group))

        def split(x: dict[str, Any], y: dict[str, Any], *weights: Any) -> Any:
            encoded = x if preprocessor is None else preprocessor(x)
            absent = sorted(set(columns) - set(encoded))
            if absent:
                raise ValueError(
                    f"The models read columns that `{self.name}` lacks: {absent}. Received: {sorted(encoded)}"
                )
            groups = () if group is None else x[group]
            kept = {column: values for column, values in encoded.items() if column in columns or _is_plain(values)}
            return kept, y, weights, groups

        encoded_rows = dataset.map(split, num_parallel_calls=tf.data.AUTOTUNE)
        self._check_shapes({column: encoded_rows.element_spec[0][column] for column in columns})
        for x, y, weights, groups in encoded_rows.as_numpy_iterator():
            rows = len(y[self._tasks[0].name])
            for column, values in x.items():
                found.setdefault(f"column {column}", []).append(values)
            for task in self._tasks:
                label = task.labels_of(y[task.name]).astype("float32", copy=False)
                found.setdefault(f"label {task.name}", []).append(self._one_a_row(task, "label", label, rows))
                if task.group is not None:
                    found.setdefault(f"group {task.name}", []).append(np.asarray(y[task.name], "float32")[:, 1:])
                if weights:
                    of_task = weights[0].get(task.name) if isinstance(weights[0], Mapping) else weights[0]
                    weight = np.ones(rows, "float32") if of_task is None else np.asarray(of_task, "float32").reshape(-1)
                    found.setdefault(f"weight {task.name}", []).append(self._one_a_row(task, "weight", weight, rows))
            if group is not None:
                codes.add(np.asarray(groups).reshape(-1))
        if not found:
            raise ValueError(f"`{self.name}` gave no batch.")
        # Popped, so that the batches of a column go once they are one array.
        kept = {name: np.concatenate(found.pop(name)) for name in list(found)}
        return kept, None if group is None else codes.array()

    def _check_shapes(self, columns: dict[str, Any]) -> None:
        for column, spec in columns.items():
            if not _has_one_shape(spec):
                raise ValueError(
                    f"Rows of column {column!r} must all have one shape, so that they can be held together: pad them, as "
                    f"`Preprocessor` does. Received: {spec} in `{self.name}`"
                )

    def _one_a_row(self, task: Task, what: str, values: np.ndarray, rows: int) -> np.ndarray:
        if len(values) != rows:
            raise ValueError(
                f"Expected one {what} a row of task {task.name!r} in `{self.name}`. Received: {len(values)} for {rows} rows"
            )
        return values

    def _check_labels(self) -> None:
        for task in self._tasks:
            missing = np.isnan(self.labels[task.name])
            labels = np.where(missing, 0, self.labels[task.name])
            checked_labels(ops.convert_to_tensor(labels), task.label_rule, task.name)
            if self.weights is not None:
                weights = np.where(missing, 0, self.weights[task.name])
                checked_weights(ops.convert_to_tensor(weights), task.name)


def _popped(kept: Columns, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    """The columns of that prefix, by the rest of their names, each out of `kept` by the time that the next one comes."""
    for name in [name for name in kept if name.startswith(prefix)]:
        yield name.removeprefix(prefix), kept.pop(name)


def _has_one_shape(column: Any) -> bool:
    """Whether all rows of a column are equally long."""
    dense = isinstance(column, tf.Tensor | tf.TensorSpec) and column.shape.rank
    return bool(dense) and column.shape[1:].is_fully_defined()


def _is_plain(column: Any) -> bool:
    """Whether a column is cheap to keep whether or not a model reads it."""
    return _has_one_shape(column) and column.dtype != tf.string


def _shuffled(rows: int, batch_size: int, steps: int, seed: int, draw: tf.Tensor) -> tf.data.Dataset:
    """The numbers of all rows, in batches, in an order that `seed` and `draw` make."""
    order = tf.random.experimental.stateless_shuffle(tf.range(rows, dtype=tf.int64), [tf.cast(seed, tf.int64), draw])
    return tf.data.Dataset.range(steps).map(lambda step: order[step * batch_size : (step + 1) * batch_size])


def row_hashes(columns: Columns) -> np.ndarray:
    """A number for each row that depends on all that it holds, `(N,)` uint64."""
    total = np.zeros(len(next(iter(columns.values()))), "uint64")
    with np.errstate(over="ignore"):
        for name in sorted(columns):
            salt = np.frombuffer(hashlib.blake2b(name.encode(), digest_size=8).digest(), "uint64")[0]
            for values in _integers(columns[name]):
                salt += _STEP
                total = _mixed(total ^ _mixed(values + salt))
    return total


def _integers(column: np.ndarray) -> Iterable[np.ndarray]:
    """The values of a column as integers, `(N,)` at a time."""
    wide = column.reshape(len(column), -1)
    for place in range(wide.shape[1]):
        values = wide[:, place]
        if values.dtype.kind in "OSU":
            # As Python's bytes: NumPy's, of a fixed width, lose zeros at the end.
            texts = [v if isinstance(v, bytes) else str(v).encode("utf-8", "surrogateescape") for v in values.tolist()]
            digests = {text: hashlib.blake2b(text, digest_size=8).digest() for text in set(texts)}
            yield np.frombuffer(b"".join(map(digests.__getitem__, texts)), "uint64")
        elif values.dtype.kind == "f":
            exact = np.where(np.isnan(values), np.nan, values + 0.0).astype("float64")  # one NaN, and one zero
            yield np.ascontiguousarray(exact).view("uint64")
        else:
            yield values.astype("int64").view("uint64")


def _mixed(values: np.ndarray) -> np.ndarray:
    """Every bit of a number in every bit of the result (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * _MULTIPLIERS[0]
    values = (values ^ (values >> np.uint64(27))) * _MULTIPLIERS[1]
    return values ^ (values >> np.uint64(31))

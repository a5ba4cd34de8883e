"""The rows that the doctor looks at."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from tfmtl.data import Preprocessor
from tfmtl.keras_host import ops
from tfmtl.label_checks import checked_labels
from tfmtl.schema import Categorical, Schema, Sequence, Task
from tfmtl.schema.categorical import MISSING_ID

Predict = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Rows:
    """Rows in the order of the dataset.

    A multiclass task is looked at as a binary one: whether the label is the commonest class, and the probability of that.

    Attributes:
        labels: `{task: (N,)}`, NaN where missing.
        predictions: `{task: (N,)}`.
        weights: `{task: (N,)}`, sample weights; empty where the dataset has none.
        columns: `{column: (N,) or (N, L)}`, encoded.
        missing: `{column: (N,)}`, where the raw id was missing and not unknown; only of raw datasets.
        outputs: the names of all outputs.
    """

    labels: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]
    missing: dict[str, np.ndarray]
    outputs: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.labels.values())))

    def of_task(self, task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels, predictions and sample weights of the rows that have a label of `task`."""
        known = ~np.isnan(self.labels[task])
        weights = self.weights[task][known] if self.weights else np.ones(int(known.sum()), "float32")
        return self.labels[task][known], self.predictions[task][known], weights


def batches(
    dataset: Any, preprocessor: Any, steps: int, *, training: bool = False
) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any], Any]]:
    """`(raw columns, encoded columns, labels, sample weights or None)` of up to `steps` batches of `dataset`.

    Args:
        dataset: what `fit` takes.
        preprocessor: encodes the columns, or None.
        steps: how many batches.
        training: whether a `Preprocessor` is to encode the rows as it does for `fit`, where it sees their labels.
    """
    for batch in islice(dataset, steps):
        fits = (
            isinstance(batch, tuple | list) and 2 <= len(batch) <= 3 and all(isinstance(p, Mapping) for p in batch[:2])
        )
        if not fits:
            raise ValueError(
                "`dataset` must give (x, y) or (x, y, sample_weight), x and y as dicts of columns. "
                f"Received: {type(batch).__name__} of {[type(part).__name__ for part in batch]}"
            )
        raw, labels = dict(batch[0]), dict(batch[1])
        if preprocessor is None:
            encoded = raw
        elif training and isinstance(preprocessor, Preprocessor):
            encoded = dict(preprocessor(raw, labels)[0])
        else:
            encoded = preprocessor(raw)
        yield raw, encoded, labels, batch[2] if len(batch) == 3 else None


def read_rows(
    predict: Predict,
    columns: list[str],
    dataset: Any,
    schema: Schema,
    steps: int,
    preprocessor: Any = None,
    *,
    training: bool = False,
) -> Rows:
    """Predicts up to `steps` batches of `dataset`.

    Raises:
        ValueError: no batch, batches of another form, a model that returns no dict or lacks a task, a column or label that
            is missing, or a label that the task cannot have.
    """
    collected: dict[str, dict[str, list[np.ndarray]]] = {kind: {} for kind in ("y", "p", "w", "x", "m")}

    def keep(kind: str, name: str, values: Any) -> None:
        collected[kind].setdefault(name, []).append(np.asarray(values))

    outputs: Mapping[str, Any] = {}
    for raw, encoded, labels, weights in batches(dataset, preprocessor, steps, training=training):
        inputs = {name: _column("column", name, encoded) for name in columns}
        outputs = predict(inputs)
        check_outputs(outputs, schema)
        for name, values in inputs.items():
            keep("x", name, values)
        for task in schema.tasks:
            found = _labels(task, labels)
            keep("y", task.name, found)
            keep("p", task.name, task.judged(outputs[task.name]))
            if weights is not None:
                own = weights[task.name] if isinstance(weights, Mapping) else weights
                keep("w", task.name, np.asarray(own, "float32").reshape(-1))
        if preprocessor is not None:
            for name, absent in _missing(raw, schema).items():
                keep("m", name, absent)
    if not collected["y"]:
        raise ValueError("`dataset` gave no batch.")
    joined = {kind: {name: np.concatenate(parts) for name, parts in of.items()} for kind, of in collected.items()}
    for task in schema.tasks:
        if task.kind == "multiclass":
            joined["y"][task.name], joined["p"][task.name] = _of_commonest(
                joined["y"][task.name], joined["p"][task.name]
            )
    return Rows(joined["y"], joined["p"], joined["w"], joined["x"], joined["m"], tuple(outputs))


def check_outputs(outputs: Any, schema: Schema) -> None:
    """Raises ValueError unless `outputs` is a dict with every task."""
    if not isinstance(outputs, Mapping):
        raise ValueError(
            "`model` must return a dict, {task: prediction}: outputs without names cannot be told apart. "
            f"Received: outputs of type {type(outputs).__name__}"
        )
    missing = [task for task in schema.task_names if task not in outputs]
    if missing:
        raise ValueError(f"The model does not predict the tasks {missing}. Received: {sorted(outputs)}")


def _column(what: str, name: str, given: Mapping[str, Any]) -> Any:
    if name not in given:
        raise ValueError(f"The model reads the {what} {name!r}, which x lacks. Received: {sorted(given)}")
    return given[name]


def _labels(task: Task, given: Mapping[str, Any]) -> np.ndarray:
    if task.name not in given:
        raise ValueError(f"No label of task {task.name!r}. Received: {sorted(given)}")
    labels = task.labels_of(given[task.name]).astype("float32", copy=False)
    found = np.nan_to_num(labels, nan=0.0, posinf=np.inf, neginf=-np.inf)
    checked_labels(ops.convert_to_tensor(found), task.label_rule, task.name)
    return labels


def _of_commonest(labels: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each label is the commonest class, and the probability of that class; labels that are all alike stay."""
    known = ~np.isnan(labels)
    classes, counts = np.unique(labels[known], return_counts=True)
    place = int(classes[counts.argmax()]) if len(classes) else 0
    if len(classes) > 1:
        labels = np.where(known, labels == place, np.nan).astype("float32")
    return labels, predictions[:, place]


def _missing(raw: Mapping[str, Any], schema: Schema) -> dict[str, np.ndarray]:
    """Which raw ids say that there is none, of the categorical columns."""
    found = {}
    for feature in schema.features:
        if isinstance(feature, Categorical) and feature.name in raw:
            absent = MISSING_ID[feature.dtype or "string"]
            values = np.asarray(raw[feature.name]).reshape(-1)
            found[feature.name] = values == (
                absent.encode() if isinstance(absent, str) and values.dtype.kind in "SO" else absent
            )
    return found


def columns_read(schema: Schema) -> dict[str, Any]:
    """`{column: the feature or field behind it}` of all columns that hold row numbers."""
    found: dict[str, Any] = {}
    for feature in schema.features:
        if isinstance(feature, Sequence):
            found |= {feature.column(field): feature for field in feature.fields}
        else:
            found[feature.name] = feature
    return found

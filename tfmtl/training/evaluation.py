"""Exact figures of every task in one pass, with those that no Keras metric can see: per group and per slice."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import BACKEND, inputs_by_name, keras
from tfmtl.metrics import exact
from tfmtl.schema import Schema, Sequence, Task
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.training.codes import Codes

Slice: TypeAlias = str | Callable[[dict[str, Any]], Any]
"""A column, or a function of the dict of columns that gives one value for each row."""

MAX_SLICES = 1000
"""More values than this make no slices: a column of ids is a group."""


def evaluate(
    model: keras.Model,
    dataset: tf.data.Dataset,
    schema: Schema,
    *,
    preprocessor: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    group: str | None = None,
    slices: Mapping[str, Slice] | None = None,
) -> dict[str, float]:
    """Predicts `dataset` once and returns exact figures of every task, under flat names that log well.

    | name | what |
    |---|---|
    | `{task}_rows` | rows with a label |
    | `{task}_positives`, `{task}_auc`, `{task}_logloss`, `{task}_calibration` | of a binary task |
    | `{task}_rmse`, `{task}_mse` | of a regression task |
    | `{task}_gauc` | with `group`: mean of the AUCs within groups, weighted by their labelled rows |
    | `{task}_gauc_group_coverage`, `{task}_gauc_row_coverage` | the share of groups, and of labelled rows, in that mean: groups with both classes |
    | `{slice}={value}/{name}` | each of the above, over the rows of a slice |

    Rows whose label is NaN are left out of their task. What is undefined is NaN: an AUC with one class, a mean of
    nothing. Predictions run on one device, whatever strategy the model was trained under.

    Memory: 8 bytes a row and task, 4 a row for `group` and for each slice, and about 100 a labelled row while one task
    is computed.

    Args:
        model: reads a dict of columns and returns `{task: (B, 1)}`. Columns that it does not read are taken out first.
        dataset: `tf.data` batches `(x, y)`, `y = {task: (B,)}`.
        schema: its tasks are evaluated.
        preprocessor: applied to `x` before the model; None where `dataset` is encoded already.
        group: the column of `x`, as it comes from `dataset`, within whose values rows are compared, such as the user. Rows
            without one belong to no group: `""` among strings, -1 among integers, NaN, and row 0 in an int32 column of a
            feature where no `preprocessor` is given, which is taken for encoded: all unknown ids share that row.
        slices: by name, a column of `x` or a function of `x`; each distinct value is a slice.

    Raises:
        ValueError: a batch that is not `(x, y)`, a model that returns no dict, a missing column, label or prediction, no
            batch at all, a function that gives something else than one value a row, or a slice of more than 1000 values.

    Example:

    ```python
    figures = evaluate(model, test, schema, group="user_id", slices={"cold": lambda x: x["age_days"] < 7})
    figures["click_gauc"], figures["cold=True/click_auc"]
    ```
    """
    return Evaluation(model, schema, preprocessor=preprocessor, group=group, slices=slices)(dataset)


class Evaluation:
    """`evaluate` with its compiled model kept, for one dataset after another; the arguments are those of `evaluate`."""

    def __init__(
        self,
        model: keras.Model,
        schema: Schema,
        *,
        preprocessor: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        group: str | None = None,
        slices: Mapping[str, Slice] | None = None,
    ):
        self.schema = schema
        self.preprocessor = preprocessor
        self.group = group
        self.slices = dict(slices or {})
        self.columns = _columns_read(model, schema)
        self.predict = _compiled(model)

    def __call__(self, dataset: tf.data.Dataset) -> dict[str, float]:
        columns, _ = self.check(dataset)
        names = self.schema.task_names
        labels: dict[str, list[np.ndarray]] = {name: [] for name in names}
        predictions: dict[str, list[np.ndarray]] = {name: [] for name in names}
        groups, slices = Codes(self._missing(columns)), {name: Codes() for name in self.slices}
        for x, inputs, y in self._batches(dataset):
            outputs = self.predict(inputs)
            if not isinstance(outputs, Mapping):
                raise ValueError(f"`model` must return {{task: (B, 1)}}. Received: {type(outputs).__name__}")
            rows = len(next(iter(inputs.values())))
            for name in names:
                labels[name].append(_column(name, "label", y, rows))
                predictions[name].append(_column(name, "prediction", outputs, rows))
            if self.group is not None:
                groups.add(_one_a_row("`group`", x[self.group], rows))
            for name, source in self.slices.items():
                slices[name].add(_one_a_row(f"slice {name!r}", source(x) if callable(source) else x[source], rows))
        if not labels[names[0]]:
            raise ValueError("`dataset` gave no batch.")

        group_of = None if self.group is None else groups.array()
        parts = _parts(slices)
        figures: dict[str, float] = {}
        for task in self.schema.tasks:
            # Popped, so that the batches go once they are one array.
            truth, answers = np.concatenate(labels.pop(task.name)), np.concatenate(predictions.pop(task.name))
            for prefix, codes, code in parts:
                rows = ~np.isnan(truth) if codes is None else ~np.isnan(truth) & (codes == code)
                found = task_figures(task, truth[rows], answers[rows], None if group_of is None else group_of[rows])
                figures.update({f"{prefix}{task.name}_{name}": value for name, value in found.items()})
        return figures

    def check(self, dataset: tf.data.Dataset) -> tuple[dict[str, Any], dict[str, Any]]:
        """The specs of x and y; raises ValueError unless `dataset` gives both and x has the columns of groups and slices."""
        spec = getattr(dataset, "element_spec", type(dataset).__name__)
        if not (isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(part, dict) for part in spec)):
            raise ValueError(
                f"`dataset` must give (x, y), two dicts of columns, as a tf.data.Dataset does. Received: element_spec={spec}"
            )
        sources = (self.group, *self.slices.values())
        named = {source for source in sources if isinstance(source, str)}
        if not named <= set(spec[0]):
            raise ValueError(
                f"`group` or `slices` name columns that x lacks: {sorted(named - set(spec[0]))}. Received: {sorted(spec[0])}"
            )
        return spec

    def _missing(self, columns: dict[str, Any]) -> tuple[Any, ...]:
        """What says "no group": an encoded feature, row numbers in int32, with row 0, a raw column with the missing id."""
        if self.group is None:
            return ()
        dtype = columns[self.group].dtype
        if dtype == tf.string:
            return (MISSING_ID["string"].encode(),)
        encoded = self.preprocessor is None and self.group in self.schema.feature_columns and dtype == tf.int32
        return (0,) if encoded else (MISSING_ID["int64"],)

    def _batches(self, dataset: tf.data.Dataset) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
        """`(columns for groups and slices, what the model reads, labels)` of every batch."""
        columns, _ = self.check(dataset)
        sources = (self.group, *self.slices.values())
        named = {source for source in sources if isinstance(source, str)}
        kept = sorted(columns if any(callable(source) for source in sources) else named)

        def split(x: dict[str, Any], y: dict[str, Any]) -> tuple[Any, ...]:
            encoded = x if self.preprocessor is None else self.preprocessor(x)
            absent = sorted(set(self.columns) - set(encoded))
            if absent:
                raise ValueError(f"The model reads columns that x lacks: {absent}. Received: {sorted(encoded)}")
            return {name: x[name] for name in kept}, {name: encoded[name] for name in self.columns}, y

        return iter(dataset.map(split, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


def task_figures(
    task: Task, labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray | None
) -> dict[str, float]:
    """The figures of one task over rows that all have a label."""
    figures: dict[str, float] = {"rows": len(labels)}
    if task.kind == "regression":
        mse = exact.mean_squared_error(labels, predictions)
        return {**figures, "rmse": mse**0.5, "mse": mse}
    figures["positives"] = int(labels.sum(dtype="float64"))
    figures["auc"] = exact.auc(labels, predictions)
    figures["logloss"] = exact.log_loss(labels, predictions)
    figures["calibration"] = exact.calibration(labels, predictions)
    if groups is not None:
        gauc = exact.group_auc(labels, predictions, groups)
        figures["gauc"] = gauc.auc
        figures["gauc_group_coverage"] = gauc.group_coverage
        figures["gauc_row_coverage"] = gauc.row_coverage
    return figures


def _parts(slices: dict[str, Codes]) -> list[tuple[str, np.ndarray | None, int]]:
    """`(prefix, codes, code)` of everything to report on: all rows first, then each value of each slice."""
    parts: list[tuple[str, np.ndarray | None, int]] = [("", None, 0)]
    for name, codes in slices.items():
        values = codes.names()
        if len(values) > MAX_SLICES:
            raise ValueError(
                f"Slice {name!r} must have at most {MAX_SLICES} values. Received: {len(values)}. A column of ids is a `group`."
            )
        array = codes.array()
        parts += [(f"{name}={value}/", array, values[value]) for value in sorted(values)]
    return parts


def _columns_read(model: keras.Model, schema: Schema) -> list[str]:
    """The columns that `model` reads: its inputs', or the schema's for a model that does not declare its own."""
    if declared := inputs_by_name(model):
        return list(declared)
    masks = [feature.mask for feature in schema.features if isinstance(feature, Sequence)]
    return [*schema.feature_columns, *masks]


def _compiled(model: keras.Model) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`predict_on_batch`, but for TensorFlow: under a strategy that one would predict the batch once for each replica."""
    if BACKEND != "tensorflow":
        return model.predict_on_batch
    return tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True)


def _column(task: str, what: str, columns: Mapping[str, Any], rows: int) -> np.ndarray:
    if task not in columns:
        raise ValueError(f"No {what} of task {task!r}. Received: {sorted(columns)}")
    return _one_a_row(f"the {what} of task {task!r}", columns[task], rows).astype("float32", copy=False)


def _one_a_row(name: str, values: Any, rows: int) -> np.ndarray:
    values = np.asarray(values)
    if values.size != rows:
        raise ValueError(f"Expected one value a row of {name}. Received: shape={values.shape} for {rows} rows")
    return values.reshape(-1)

"""Exact figures of every task in one pass, with those that no Keras metric can see: per group and per slice."""

import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import BACKEND, inputs_by_name, keras, ops
from tfmtl.label_checks import checked_labels, checked_weights
from tfmtl.progress import Verbose, number_of_batches, with_progress
from tfmtl.row_errors import as_raised
from tfmtl.schema import Schema, Sequence, Task
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.training.codes import Codes
from tfmtl.training.figures import ASKED, FIGURES, is_figure, needs_groups, task_figures

Slice: TypeAlias = str | Callable[[dict[str, Any]], Any]
"""A column, or a function of the dict of columns that gives one value for each row."""

_COMPILED: MutableMapping[keras.Model, Callable[[dict[str, Any]], dict[str, Any]]] = weakref.WeakKeyDictionary()
"""What was traced of a model is used by every evaluation of it."""

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
    figures: Collection[str] | None = None,
    verbose: Verbose = "auto",
) -> dict[str, float]:
    """Predicts `dataset` once and returns exact figures of every task, under flat names that log well.

    | name | what |
    |---|---|
    | `{task}_rows` | rows with a label |
    | `{task}_positives`, `{task}_auc`, `{task}_logloss`, `{task}_calibration` | of a binary task |
    | `{task}_rmse`, `{task}_mse` | of a regression task |
    | `{task}_auc`, `{task}_logloss`, `{task}_accuracy` | of a multiclass task; the AUC is the mean over the classes of each against the others |
    | `{task}_gauc` | with `group`: mean of the AUCs within groups, weighted by their labelled rows |
    | `{task}_gauc_group_coverage`, `{task}_gauc_row_coverage` | the share of groups, and of labelled rows, in that mean: groups with both classes |
    | `{slice}={value}/{name}` | each of the above, over the rows of a slice |

    and, where `figures` names them:

    | name | what |
    |---|---|
    | `ap`, `ne`, `brier` | of a binary task: average precision; log loss over the entropy of the base rate; squared error |
    | `ece`, `ece_width` | calibration error over 10 bins of equally many rows, or of equal width |
    | `gauc_positives`, `gauc_groups` | `gauc` with groups weighted by their positives, or all the same |
    | `ndcg@k`, `recall@k`, `hit@k`, `mrr` | within groups that have a positive, all the same; of equal predictions the negatives come first |
    | `xauc` | of a regression: the share of pairs with different labels, such as watch times, that are predicted in order |

    Of a task whose loss predicts a distribution, figures read the column that stands for it: the mean, the middle quantile.

    Rows whose label is NaN are left out of their task. With sample weights every mean is a weighted one, a pair of an AUC
    counts by the product of its weights, a group of a `gauc` by the sum of its rows' and one of a ranking by their mean; `rows` and `positives` count rows. What is
    undefined is NaN: an AUC with one class, a mean of nothing. Predictions run on one device, whatever strategy the model was trained under.

    Memory: 8 bytes a row and task, 4 more with weights, 4 a row for `group` and for each slice, and about 100 a labelled row while one task
    is computed.

    Args:
        model: reads a dict of columns and returns `{task: (B, 1)}`, of classes `(B, C)`. Columns that it does not read are taken out first.
        dataset: `tf.data` batches `(x, y)` or `(x, y, sample_weight)`, as `fit` takes them: `y = {task: (B,)}`, the weights
            a dict by task or one `(B,)` for all tasks.
        schema: its tasks are evaluated.
        preprocessor: applied to `x` before the model; None where `dataset` is encoded already.
        group: the column of `x`, as it comes from `dataset`, within whose values rows are compared, such as the user. Rows
            without one belong to no group: `""` among strings, -1 among integers, NaN, and row 0 in an int32 column of a
            feature where no `preprocessor` is given, which is taken for encoded: all unknown ids share that row.
        slices: by name, a column of `x` or a function of `x`; each distinct value is a slice.
        figures: names of the tables, without the task's, such as `("auc", "ndcg@10")`; all of the first where None.
        verbose: 1 shows a progress bar over the batches, 0 does not; `"auto"` does in a terminal.

    Raises:
        ValueError: a batch that is neither `(x, y)` nor `(x, y, sample_weight)`, a label that the task cannot have (not 0, 1 or
            NaN of a binary task, not finite of a regression, no class of a multiclass one), a weight of a labelled row that is negative or not finite, a model that returns no dict, a missing column, label or prediction, no
            batch at all, a function that gives something else than one value a row, an unknown figure or one that needs a `group`, or a slice of more than 1000 values.

    Example:

    ```python
    figures = evaluate(model, test, schema, group="user_id", slices={"cold": lambda x: x["age_days"] < 7})
    figures["click_gauc"], figures["cold=True/click_auc"]
    ```
    """
    evaluation = Evaluation(model, schema, preprocessor=preprocessor, group=group, slices=slices, figures=figures)
    with as_raised():
        return evaluation(dataset, verbose=verbose)


class _Batches(NamedTuple):
    """Columns of one task, batch by batch; without sample weights there are none."""

    labels: list[np.ndarray]
    predictions: list[np.ndarray]
    weights: list[np.ndarray]

    def add(self, task: Task, y: Mapping[str, Any], outputs: Mapping[str, Any], weights: Any, rows: int) -> None:
        """Appends a batch; raises ValueError for labels that the task cannot have, and weights that no row can."""
        labels = _one_a_row(f"the label of task {task.name!r}", task.labels_of(_of(task.name, "label", y)), rows)
        labels = labels.astype("float32", copy=False)
        labelled = ~np.isnan(labels)
        checked_labels(ops.convert_to_tensor(np.where(labelled, labels, 0)), task.label_rule, task.name)
        self.labels.append(labels)
        predictions = task.judged(_of(task.name, "prediction", outputs))
        if len(predictions) != rows:
            raise ValueError(
                f"Expected one prediction a row of task {task.name!r}. Received: {len(predictions)} for {rows} rows"
            )
        self.predictions.append(predictions)
        if weights is not None:
            by_task = weights if isinstance(weights, Mapping) else {task.name: weights}
            of_task = np.where(labelled, _column(task.name, "sample weight", by_task, rows), 0)
            checked_weights(ops.convert_to_tensor(of_task), task.name)
            self.weights.append(of_task)


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
        figures: Collection[str] | None = None,
    ):
        self.schema = schema
        self.preprocessor = preprocessor
        self.group = group
        self.slices = dict(slices or {})
        self.figures = _checked_figures(figures, group)
        self.columns = _columns_read(model, schema)
        self.predict = _compiled(model)

    def __call__(self, dataset: tf.data.Dataset, *, verbose: Verbose = 0) -> dict[str, float]:
        tasks, groups, slices = self._columns(dataset, verbose)
        parts = _parts(slices)
        figures: dict[str, float] = {}
        for task in self.schema.tasks:
            # Popped, so that the batches go once they are one array.
            batches = tasks.pop(task.name)
            labels, predictions = np.concatenate(batches.labels), np.concatenate(batches.predictions)
            weights = np.concatenate(batches.weights) if batches.weights else None
            del batches
            for prefix, codes, code in parts:
                rows = ~np.isnan(labels) if codes is None else ~np.isnan(labels) & (codes == code)
                of_part, weights_of_part = (None if column is None else column[rows] for column in (groups, weights))
                found = task_figures(
                    task, labels[rows], predictions[rows], of_part, weights_of_part, names=self.figures
                )
                figures.update({f"{prefix}{task.name}_{name}": value for name, value in found.items()})
        return figures

    def check(self, dataset: tf.data.Dataset) -> dict[str, Any]:
        """The spec of x; raises ValueError unless `dataset` gives x and y, and x has the columns of groups and slices."""
        spec: Any = getattr(dataset, "element_spec", type(dataset).__name__)
        fits = isinstance(spec, tuple) and 2 <= len(spec) <= 3 and all(isinstance(part, dict) for part in spec[:2])
        if not fits or (len(spec) == 3 and not isinstance(spec[2], dict | tf.TensorSpec)):
            raise ValueError(
                "`dataset` must give (x, y) or (x, y, sample_weight), x and y as dicts of columns, the weights as a dict by "
                f"task or as one column, as a tf.data.Dataset does. Received: element_spec={spec}"
            )
        sources = (self.group, *self.slices.values())
        named = {source for source in sources if isinstance(source, str)}
        if not named <= set(spec[0]):
            raise ValueError(
                f"`group` or `slices` name columns that x lacks: {sorted(named - set(spec[0]))}. Received: {sorted(spec[0])}"
            )
        columns: dict[str, Any] = spec[0]
        return columns

    def _columns(
        self, dataset: tf.data.Dataset, verbose: Verbose
    ) -> tuple[dict[str, _Batches], np.ndarray | None, dict[str, Codes]]:
        """Predicts `dataset`: what figures are made of, by task, the number of each row's group, and each slice's."""
        tasks = {task.name: _Batches([], [], []) for task in self.schema.tasks}
        groups, slices = Codes(self._missing(self.check(dataset))), {name: Codes() for name in self.slices}
        seen = 0
        batches = with_progress(self._batches(dataset), verbose, "batch", number_of_batches(dataset))
        for x, inputs, y, *weights in batches:
            outputs = self.predict(inputs)
            if not isinstance(outputs, Mapping):
                raise ValueError(f"`model` must return {{task: (B, 1)}}. Received: {type(outputs).__name__}")
            rows = len(next(iter(inputs.values())))
            seen += rows
            for task in self.schema.tasks:
                tasks[task.name].add(task, y, outputs, weights[0] if weights else None, rows)
            if self.group is not None:
                groups.add(_one_a_row("`group`", x[self.group], rows))
            for name, source in self.slices.items():
                slices[name].add(_one_a_row(f"slice {name!r}", source(x) if callable(source) else x[source], rows))
        if not seen:
            raise ValueError("`dataset` gave no batch.")
        return tasks, None if self.group is None else groups.array(), slices

    def _missing(self, columns: dict[str, Any]) -> tuple[Any, ...]:
        """What says "no group": an encoded feature, row numbers in int32, with row 0, a raw column with the missing id."""
        if self.group is None:
            return ()
        dtype = columns[self.group].dtype
        if dtype == tf.string:
            return (MISSING_ID["string"].encode(),)
        encoded = self.preprocessor is None and self.group in self.schema.feature_columns and dtype == tf.int32
        return (0,) if encoded else (MISSING_ID["int64"],)

    def _batches(self, dataset: tf.data.Dataset) -> Iterator[tuple[Any, ...]]:
        """`(columns for groups and slices, what the model reads, labels)` of every batch, and weights where there are."""
        columns = self.check(dataset)
        sources = (self.group, *self.slices.values())
        named = {source for source in sources if isinstance(source, str)}
        kept = sorted(columns if any(callable(source) for source in sources) else named)

        def split(x: dict[str, Any], *y_and_weights: Any) -> tuple[Any, ...]:
            encoded = x if self.preprocessor is None else self.preprocessor(x)
            absent = sorted(set(self.columns) - set(encoded))
            if absent:
                raise ValueError(f"The model reads columns that x lacks: {absent}. Received: {sorted(encoded)}")
            return {name: x[name] for name in kept}, {name: encoded[name] for name in self.columns}, *y_and_weights

        return iter(dataset.map(split, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


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
    columns: list[str] = []
    for feature in schema.features:
        columns += [*feature.encoded().columns, feature.mask] if isinstance(feature, Sequence) else [feature.name]
    return columns


def _compiled(model: keras.Model) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`predict_on_batch`, but for TensorFlow: under a strategy that one would predict the batch once for each replica."""
    if BACKEND != "tensorflow":
        return lambda inputs: model.predict_on_batch({name: np.asarray(column) for name, column in inputs.items()})
    if model not in _COMPILED:
        alive: Any = weakref.proxy(model)  # or the dict's value would keep its key
        # A function of its own for each model, by TensorFlow's count too, which takes those of one `def` for one function and
        # would warn of what is traced again and again.
        _COMPILED[model] = tf.function(partial(_predict, alive), reduce_retracing=True)
    return _COMPILED[model]


def _predict(model: Any, inputs: dict[str, Any]) -> Any:
    return model(inputs, training=False)


def _checked_figures(figures: Collection[str] | None, group: str | None) -> tuple[str, ...]:
    if figures is None:
        return FIGURES
    if isinstance(figures, str) or not all(isinstance(name, str) and is_figure(name) for name in figures):
        raise ValueError(
            f"`figures` must be some of {(*FIGURES, *ASKED)} or ndcg@k, recall@k, hit@k, without the task's name. "
            f"Received: figures={figures!r}"
        )
    within = [name for name in figures if needs_groups(name)]
    if within and group is None:
        raise ValueError(f"The figures {within} compare rows within a `group`. Received: group=None")
    return tuple(dict.fromkeys(figures))


def _of(task: str, what: str, columns: Mapping[str, Any]) -> Any:
    if task not in columns:
        raise ValueError(f"No {what} of task {task!r}. Received: {sorted(columns)}")
    return columns[task]


def _column(task: str, what: str, columns: Mapping[str, Any], rows: int) -> np.ndarray:
    return _one_a_row(f"the {what} of task {task!r}", _of(task, what, columns), rows).astype("float32", copy=False)


def _one_a_row(name: str, values: Any, rows: int) -> np.ndarray:
    values = np.asarray(values)
    if values.size != rows:
        raise ValueError(f"Expected one value a row of {name}. Received: shape={values.shape} for {rows} rows")
    return values.reshape(-1)

"""From a trained model to one whose probabilities come true as often as they say, and whose means are right on average."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from tfmtl.checks import check_option
from tfmtl.keras_host import inputs_by_name, keras, ops
from tfmtl.label_checks import checked_labels, checked_weights
from tfmtl.layers.class_scaling import ClassScaling
from tfmtl.layers.isotonic_curve import IsotonicCurve
from tfmtl.layers.platt_scaling import PlattScaling
from tfmtl.models.calibrating.isotonic import isotonic_points
from tfmtl.models.calibrating.platt import class_lines, platt_line
from tfmtl.named_model import model_by_name
from tfmtl.schema import Schema, Task
from tfmtl.typing import OutputForm

Method: TypeAlias = Literal["isotonic", "platt"]
Columns: TypeAlias = dict[str, Any]

FITS: dict[Method, tuple[OutputForm, ...]] = {
    "isotonic": ("probability", "value", "positive", "zero_inflated"),
    "platt": ("probability", "classes", "ordered"),
}
"""The predictions that a method has a curve for. Isotonic curves of classes would not sum to 1, and a quantile is no mean."""


def calibrated(
    model: keras.Model,
    held: Iterable[Any],
    schema: Schema,
    *,
    method: Method | Mapping[str, Method] = "isotonic",
    preprocessor: Callable[[Columns], Columns] | None = None,
    name: str = "calibrated",
) -> keras.Model:
    """The model to serve: its predictions go through a curve each, fitted on held-out rows.

    It shares its layers with `model`, is saved, loaded and exported like any other, and the curve is part of the exported
    graph. Curves of one number rise, so rows keep their order; an isotonic one is level below its first point and above its last.

    | method | of | curve | rows |
    |---|---|---|---|
    | `"isotonic"` | binary tasks; the mean of a regression | the rising step curve with the least squared error, its steps joined by lines | thousands of positives: it follows any bend |
    | `"platt"` | binary tasks | `sigmoid(a logit(p) + b)` | few: two numbers |
    | `"platt"` | multiclass tasks, ordered or not | `softmax(a log p + b)`, an intercept for each class | some of every class |

    A regression's curve makes of what it predicts the mean of the labels there, whatever loss it was trained by; of a
    zero-inflated task it changes the mean and not the two columns beside it. Quantiles are not calibrated.

    Fit on rows that the model was not trained on, and that come as they are served: a model that is right on training rows is
    too sure on others. Each task of a chain gets a curve of its own, after which a later step may lie above an earlier one.

    Args:
        model: functional, returns a dict by task; trained.
        held: batches `(x, y)` or `(x, y, sample_weight)`, such as a `tf.data.Dataset`; labels are NaN where missing.
        schema: of the model.
        method: of all tasks that it has a curve for, or `{task: method}` of some.
        preprocessor: applied to `x` before the model; None where rows are encoded.
        name: of the model.

    Raises:
        ValueError: a model that returns no dict, an unknown method, a task that is unknown or that the method has no curve for, none
            at all, rows without two labels, or without a class, of a task, columns, labels or weights that lack, or labels and
            weights that a task cannot have.

    Example:

    ```python
    served = calibrated(model, valid, schema, method={"click": "isotonic", "buy": "platt"})
    evaluate(served, test, schema)["buy_calibration"]
    export(served, "models/ranker", schema)
    ```

    Reference:
        Platt, 1999, see `tfmtl.layers.PlattScaling`; Zadrozny and Elkan, "Transforming Classifier Scores into Accurate
        Multiclass Probability Estimates", KDD 2002, for isotonic regression, whose steps are joined by lines here; for classes
        see `tfmtl.layers.ClassScaling`.
    """
    if not isinstance(getattr(model, "output", None), dict):  # which a model that is no graph has not
        raise ValueError(f"The model must be functional and return a dict by task. Received: {type(model).__name__}")
    methods = _methods(method, schema)
    rows = _Held(schema, list(methods))
    inputs = inputs_by_name(model)
    for batch in held:
        rows.add(model, list(inputs), batch, preprocessor)
    outputs = dict(model.output)
    for task, chosen in methods.items():
        labels, predictions, weights = rows.of_task(task)
        layer_name = _free_name(f"{task}_calibration", model)
        output = schema.task(task).output
        if chosen == "isotonic":
            fitted = isotonic_points(labels, predictions, weights)
            curve = IsotonicCurve(fitted.shape[1], name=layer_name)
        elif output.form == "probability":
            curve, fitted = PlattScaling(name=layer_name), platt_line(labels, predictions, weights)
        else:
            curve, fitted = ClassScaling(output.width, name=layer_name), class_lines(labels, predictions, weights)
        curve.build((None, output.width))
        curve.set_weights([fitted.astype("float32")])
        outputs[task] = curve(outputs[task])
    return model_by_name(inputs, outputs, name)


def _methods(method: Any, schema: Schema) -> dict[str, Method]:
    """`{task: method}`, checked."""
    if not isinstance(method, Mapping):
        check_option("method", method, Method)
    fitting = {
        each: [task.name for task in schema.tasks if task.output.form in forms and not _ranks(task)]
        for each, forms in FITS.items()
    }
    chosen: dict[str, Method] = dict(method) if isinstance(method, Mapping) else dict.fromkeys(fitting[method], method)
    for task, each in chosen.items():
        check_option("method", each, Method, of=f"task {task!r}")
    wrong = [task for task, each in chosen.items() if task not in fitting[each]]
    if not chosen or wrong:
        raise ValueError(
            f"`method` must name tasks that it has a curve for: 'isotonic' {fitting['isotonic']}, 'platt' {fitting['platt']}. "
            f"The classes of a task go with 'platt', a regression with 'isotonic', quantiles and scores that rank with neither. "
            f"Received: method={method!r}"
        )
    return chosen


def _ranks(task: Task) -> bool:
    """Whether a prediction says no more than where a row stands among others."""
    return task.group is not None and task.output.form != "probability"


class _Held:
    """Labels, predictions and weights of the tasks that are calibrated, batch by batch."""

    def __init__(self, schema: Schema, tasks: list[str]):
        self.tasks: list[Task] = [schema.task(name) for name in tasks]
        self.columns: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in tasks}

    def add(self, model: keras.Model, inputs: list[str], batch: Any, preprocessor: Any) -> None:
        fits = isinstance(batch, tuple | list) and len(batch) in (2, 3)
        if not fits or not all(isinstance(part, Mapping) for part in batch[:2]):
            raise ValueError(
                "`held` must give batches (x, y) or (x, y, sample_weight), x and y as dicts. "
                f"Received: {type(batch).__name__}"
            )
        x, y = batch[0] if preprocessor is None else preprocessor(dict(batch[0])), batch[1]
        tasks = {task.name for task in self.tasks}
        missing = sorted({*inputs} - {*x}) + sorted(tasks - {*y})
        if missing:
            raise ValueError(f"`held` lacks columns or labels: {missing}. Received: {sorted(x)} and {sorted(y)}")
        by_task = batch[2] if len(batch) == 3 and isinstance(batch[2], Mapping) else None
        if by_task is not None and not tasks <= {*by_task}:
            raise ValueError(f"`held` lacks weights: {sorted(tasks - {*by_task})}. Received: {sorted(by_task)}")
        predictions = model({column: x[column] for column in inputs}, training=False)
        for task in self.tasks:
            labels = task.labels_of(y[task.name]).astype("float32")
            weights = np.ones(len(labels), "float32")
            if len(batch) == 3:
                given = batch[2] if by_task is None else by_task[task.name]
                weights = np.asarray(given, "float32").reshape(-1)
            known = ~np.isnan(labels)
            checked_labels(ops.convert_to_tensor(labels[known]), task.label_rule, task.name)
            checked_weights(ops.convert_to_tensor(weights[known]), task.name)
            predicted = task.judged(ops.convert_to_numpy(predictions[task.name]))
            self.columns[task.name].append((labels[known], predicted[known], weights[known]))

    def of_task(self, task: str) -> tuple[np.ndarray, ...]:
        """All labels, predictions and weights; ValueError where there is nothing to fit."""
        batches = self.columns[task]
        if not batches:
            raise ValueError("`held` gave no batch.")
        labels, predictions, weights = (np.concatenate(column) for column in zip(*batches, strict=True))
        counted = weights > 0
        found = np.unique(labels[counted])
        needed = predictions.shape[1] if predictions.ndim == 2 else 2
        if len(found) < needed or not np.isfinite(predictions).all():
            whose = f"all {needed} classes" if predictions.ndim == 2 else "two labels"
            raise ValueError(
                f"Calibrating task {task!r} needs rows of {whose}, and finite predictions. Received: {counted.sum()} "
                f"labelled rows, of {found[:9].tolist()}"
            )
        return labels[counted], predictions[counted], weights[counted]


def _free_name(wanted: str, model: keras.Model) -> str:
    taken = {layer.name for layer in model.layers}
    while wanted in taken:
        wanted += "_"
    return wanted

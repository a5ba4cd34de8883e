"""From the tasks of a schema to the arguments of `compile`."""

import warnings
from collections import UserDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import BACKEND, keras, paths_within
from tfmtl.losses import MaskedLoss
from tfmtl.losses.task_loss import task_loss
from tfmtl.metrics import (
    MaskedAUC,
    MaskedAveragePrecision,
    MaskedCalibration,
    MaskedCalibrationError,
    MaskedKerasMetric,
    MaskedLogLoss,
    MaskedMetric,
    MaskedNormalizedEntropy,
    MaskedRootMeanSquaredError,
    OneColumn,
)
from tfmtl.schema import Task
from tfmtl.schema.names import check_distinct
from tfmtl.training.decaying_weight import DecayingWeight
from tfmtl.typing import TaskKind


def _brier(name: str | None = None) -> MaskedKerasMetric:
    return MaskedKerasMetric(keras.metrics.MeanSquaredError(name="brier"), "binary", name)


METRICS: dict[TaskKind, dict[str, Callable[..., keras.metrics.Metric]]] = {
    "binary": {
        "auc": MaskedAUC,
        "logloss": MaskedLogLoss,
        "calibration": MaskedCalibration,
        "ap": MaskedAveragePrecision,
        "ne": MaskedNormalizedEntropy,
        "brier": _brier,
        "ece": MaskedCalibrationError,
        "ece_width": partial(MaskedCalibrationError, cut="width"),
    },
    "regression": {"rmse": MaskedRootMeanSquaredError},
    "multiclass": {"auc": MaskedAUC, "logloss": MaskedLogLoss},
}
"""Metrics of ours by name; those of a multiclass task take `num_classes`."""

SHOWN: dict[TaskKind, tuple[str, ...]] = {
    "binary": ("auc", "logloss", "calibration"),
    "regression": ("rmse",),
    "multiclass": ("auc", "logloss", "accuracy"),
}
"""The metrics of a task for which none are asked for; without the one that says what `{task}_loss` says."""

DROWNS = 30.0
"""How many times one task's loss has to be another's to be worth a warning."""


class Objectives(UserDict[str, Any]):
    """The arguments of `compile` by name; every look at `"metrics"` makes new ones, so that no two models share a state.

    So metrics of your own are given to `objectives`: what is appended to one look's list is not in the next one's.
    """

    def __getitem__(self, name: str) -> Any:
        held = super().__getitem__(name)
        return held() if callable(held) else held


def objectives(
    tasks: Iterable[Task],
    *,
    losses: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Sequence[Any]] | None = None,
    normalize: bool | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    decay_steps: int | None = None,
) -> Objectives:
    """Returns what `compile` needs to train and watch every task: losses, loss weights and metrics, by task.

    ```
    loss = sum_k w_k(t) L_k        w_k(t) = weight_k * weight_decay_k^t
    ```

    `L_k` is the mean loss over the task's labelled rows, `t` counts periods of `decay_steps` optimizer steps.

    | kind | loss | metrics in the logs |
    |---|---|---|
    | `binary` | `MaskedBinaryCrossentropy` | `{task}_auc`, `{task}_calibration`, and `{task}_logloss` where no `{task}_loss` says it |
    | `regression` | `MaskedMeanSquaredError` | `{task}_rmse` |
    | `multiclass` | `MaskedCategoricalCrossentropy` | `{task}_auc` (mean over the classes), `{task}_accuracy`, `{task}_logloss` as above |

    A task with a loss of its own, `Task(loss=...)`, has that one; `docs/losses.md` lists what each predicts. Where the loss
    ranks, labels come with groups and metrics read the labels alone; where it predicts several columns, the one that stands
    for the value. Of a binary task there are also the metrics `"ap"`, `"ne"`, `"brier"`, `"ece"` and `"ece_width"` to ask for.

    Keras 3 takes `{task}` from the keys of the model's output; tf_keras takes it from the output layers' names, which
    therefore have to be the tasks'. Several models can be compiled with one result: each gets metrics of its own. The
    `loss` that Keras logs follows the weights: with decaying weights, let early stopping watch a metric. Of several tasks
    Keras also logs `{task}_loss`, a mean over batches. Where that is the log loss, `{task}_logloss`, the mean over rows, would be
    almost the same number again: it is shown of a task that is alone or has a loss of its own (`losses`), or that asks for it.

    Labels are checked in every step: a binary task's are 0, 1 or NaN, a regression's NaN or finite and at most 1e16 from 0 (and
    not negative, where the loss is of a count or an amount), a multiclass task's the index of a class or NaN.
    The first batch with another one fails, with the task and the label in the message.

    Args:
        tasks: the tasks that the model predicts, such as `schema.tasks`.
        losses: by task, a loss of Keras, or of your own, instead of the one above: a loss object, a function
            `(labels, predictions) -> losses`, or a name. It is masked and averaged as ours, whatever its own reduction. A loss
            that reads something else than the task predicts, or that compares rows, is given to the task.
        metrics: by task, what is shown of it instead of the above: names of ours (`"auc"`), metrics of Keras or of your
            own, functions, names of Keras's. They are masked as ours; an object is copied by its `get_config`. An empty
            list shows none.
        normalize: True divides every task's weight by the loss of a model that always answers the mean of its labels: the
            entropy of a binary task's base rate or of a multiclass task's class rates, the variance of a regression's labels. Other
            losses have no such unit, neither `Task(loss=...)` nor `losses`: of a task with one True is refused. A rare task is then heard, and a
            spend in cents does not drown a click. None, the default, does so of several tasks if the schema knows the
            labels of all (`adapt`) and their losses are those of their kinds; `docs/balancing.md` has the measurements behind it. False
            leaves the weights as they are. What Keras logs as `{task}_loss` stays the plain loss.
        optimizer: the one given to `compile`. Needed where a task has a `weight_decay`: its steps are the clock.
        decay_steps: optimizer steps from one `t` to the next. The steps of an epoch give the paper's formula,
            1 the paper's prose. Needed where a task has a `weight_decay`.

    Raises:
        ValueError: no task, something else than a `Task`, a name given twice, a loss or metrics of an unknown task, a
            loss or metric that rows cannot be left out of (see `MaskedKerasLoss`, `MaskedKerasMetric`), `normalize=True` of
            a task whose labels the schema does not know, all alike, or with a loss of its own, or a `weight_decay`
            without optimizer and `decay_steps` or off TensorFlow.

    Example:

    ```python
    model.compile(optimizer, **objectives(schema.tasks))

    # Losses and metrics of Keras, for one of the tasks:
    losses = {"click": keras.losses.BinaryFocalCrossentropy()}
    metrics = {"click": ["auc", keras.metrics.AUC(curve="PR", name="pr")]}
    model.compile(optimizer, **objectives(schema.tasks, losses=losses, metrics=metrics))

    # Tasks that declare a `weight_decay`:
    model.compile(optimizer, **objectives(schema.tasks, optimizer=optimizer, decay_steps=steps_per_epoch))
    ```

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 4.3. Its formula lets `t` be the epoch,
        its text the step; `decay_steps` covers both.
    """
    tasks = _checked(tasks)
    losses, metrics = _of_tasks("losses", losses, tasks), _of_tasks("metrics", metrics, tasks)
    if normalize is None:
        normalize = len(tasks) > 1 and not losses and all(task.unit_of_loss for task in tasks)
    units = {task.name: _unit(task, losses) for task in tasks} if normalize else {}
    if not normalize:
        _warn_of_scales([task for task in tasks if task.name not in losses])
    # Keras puts the output's name before a metric's, except where there is one output only.
    alone = len(tasks) == 1
    shown: dict[str, Sequence[Any]] = {
        task.name: _shown(task, says_logloss=not alone and task.name not in losses and task.loss is None)
        for task in tasks
    }
    shown.update({name: given for name, given in metrics.items() if given is not None})
    makers = {task.name: _makers(task, shown[task.name], f"{task.name}_" if alone else "") for task in tasks}

    def new_metrics() -> dict[str, Any]:
        # Lists, as Keras before 3.14 demands.
        return {name: [_within(name, make) for make in of_task] for name, of_task in makers.items()}

    return Objectives(
        loss={task.name: _loss(task, losses.get(task.name)) for task in tasks},
        loss_weights={
            task.name: _weight(task, task.weight / units.get(task.name, 1.0), optimizer, decay_steps) for task in tasks
        },
        metrics=new_metrics,
    )


def _within(task: str, make: Callable[[], keras.metrics.Metric]) -> keras.metrics.Metric:
    """A metric whose variables are told from those of other tasks: `keras.Model.get_state_tree` asks for that."""
    with paths_within(task):
        return make()


def _checked(tasks: Iterable[Task]) -> tuple[Task, ...]:
    tasks = tuple(tasks)
    if not tasks or not all(isinstance(task, Task) for task in tasks):
        raise ValueError(f"`tasks` must be `Task`s, at least one. Received: tasks={tasks!r}")
    check_distinct("task", (task.name for task in tasks))
    return tasks


def _of_tasks(name: str, given: Mapping[str, Any] | None, tasks: tuple[Task, ...]) -> Mapping[str, Any]:
    """`given`, once it is a mapping from some of the tasks."""
    known = [task.name for task in tasks]
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not set(given) <= set(known):
        raise ValueError(f"`{name}` must be a dict by task, of {known}. Received: {name}={given!r}")
    return given


def _loss(task: Task, given: Any) -> MaskedLoss:
    """The loss of a task, named like it: errors call it so."""
    if given is None:
        return task.masked_loss
    loss = task_loss(given, task.kind, task.num_classes, task.name)
    if (loss.output or task.output) != task.output or (loss.grouped and task.group is None):
        raise ValueError(
            f"The loss {type(loss).__name__} decides what a task predicts, or reads groups: give it to the task, "
            f"`Task({task.name!r}, loss=...)`, before the model is built. Received: losses={{{task.name!r}: {given!r}}}"
        )
    return loss


def _shown(task: Task, *, says_logloss: bool) -> tuple[str, ...]:
    """The metrics of a task that asks for none. `says_logloss`: whether Keras logs the log loss as the task's loss."""
    return tuple(name for name in SHOWN[task.kind] if not (name == "logloss" and says_logloss))


def _makers(task: Task, given: Sequence[Any], prefix: str) -> list[Callable[[], keras.metrics.Metric]]:
    """What makes the metrics of a task, new at each call."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValueError(f"`metrics` of task {task.name!r} must be a list. Received: {given!r}")
    known = METRICS[task.kind]
    names = [each if isinstance(each, str) and each in known else _masked(each, task, None).name for each in given]
    check_distinct("metric", names)
    return [partial(_masked, each, task, f"{prefix}{name}") for each, name in zip(given, names, strict=True)]


def _masked(given: Any, task: Task, name: str | None) -> keras.metrics.Metric:
    """A new metric of the task for what was given: a name, a function, or a metric, which it shares no state with."""
    metric = _of_labels(given, task, name)
    if task.group is None and (task.output.width == 1 or task.output.point is None):
        return metric
    return metric if isinstance(metric, OneColumn) else OneColumn(metric, task.output.point or 0)


def _of_labels(given: Any, task: Task, name: str | None) -> keras.metrics.Metric:
    """A new metric that reads labels of one column."""
    classes = {} if task.num_classes is None else {"num_classes": task.num_classes}
    if isinstance(given, str) and given in METRICS[task.kind]:
        return METRICS[task.kind][given](name=name or given, **classes)
    if isinstance(given, OneColumn):
        given, name = given.metric, name or given.own_name
    if isinstance(given, MaskedMetric):
        config = given.get_config()
        return type(given).from_config({**config, "name": name or config["name"]})
    if isinstance(given, MaskedKerasMetric):
        given, name = given.metric, name or given.own_name
    if isinstance(given, keras.metrics.Metric):
        given = type(given).from_config(given.get_config())
    return MaskedKerasMetric(given, task.kind, name, num_classes=task.num_classes)


def _unit(task: Task, losses: Mapping[str, Any]) -> float:
    """What a model loses that always answers the mean of the task's labels."""
    if task.name in losses or task.unit_of_loss is None:
        own = task.name in losses or task.loss is not None
        known = f"class_rates={task.class_rates}" if task.num_classes else f"mean={task.mean}, variance={task.variance}"
        why = "a loss of its own, which has no such unit" if own else known
        raise ValueError(
            f"`normalize` needs labels that are known and not all alike: call `schema = tfmtl.adapt(schema, dataset)` with "
            f"labels, or give task {task.name!r} its `mean` and, of a regression, `variance`, of a multiclass task "
            f"`class_rates`. Received: {why}"
        )
    return task.unit_of_loss


def _warn_of_scales(tasks: list[Task]) -> None:
    """Says where one task's loss is so much greater than another's that nobody would hear the other."""
    scales = {task.name: task.weight * (task.unit_of_loss or 0.0) for task in tasks}
    heard = {name: scale for name, scale in scales.items() if scale > 0}
    loudest, faintest = (pick(heard, key=heard.__getitem__, default="") for pick in (max, min))
    if heard and heard[loudest] > DROWNS * heard[faintest]:
        warnings.warn(
            f"The loss of task {loudest!r} is about {heard[loudest] / heard[faintest]:,.0f} times that of {faintest!r}, which "
            "the shared weights will hardly hear: use `normalize=True`, or other weights of the tasks.",
            stacklevel=3,
        )


def _weight(task: Task, weight: float, optimizer: Any, decay_steps: int | None) -> float | DecayingWeight:
    if task.weight_decay == 1.0:
        return weight
    if BACKEND != "tensorflow":
        raise ValueError(
            f"`weight_decay` works on the TensorFlow backend. Received: task={task.name!r}, backend={BACKEND!r}"
        )
    if not hasattr(optimizer, "iterations") or decay_steps is None:
        raise ValueError(
            f"Task {task.name!r} has weight_decay={task.weight_decay}: `objectives` needs `optimizer`, the object given to "
            f"`compile`, and `decay_steps` >= 1. Received: optimizer={optimizer!r}, decay_steps={decay_steps!r}"
        )
    return DecayingWeight(weight, task.weight_decay, check_count("decay_steps", decay_steps), optimizer)

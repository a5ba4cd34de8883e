"""From the tasks of a schema to the arguments of `compile`."""

from collections.abc import Iterable
from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import BACKEND, keras
from tfmtl.losses import MaskedBinaryCrossentropy, MaskedLoss, MaskedMeanSquaredError
from tfmtl.metrics import MaskedAUC, MaskedCalibration, MaskedLogLoss, MaskedRootMeanSquaredError
from tfmtl.schema import Task
from tfmtl.schema.names import check_distinct
from tfmtl.training.decaying_weight import DecayingWeight


def objectives(
    tasks: Iterable[Task], *, optimizer: keras.optimizers.Optimizer | None = None, decay_steps: int | None = None
) -> dict[str, dict[str, Any]]:
    """Returns what `compile` needs to train and watch every task: losses, loss weights and metrics, by task.

    ```
    loss = sum_k w_k(t) L_k        w_k(t) = weight_k * weight_decay_k^t
    ```

    `L_k` is the mean loss over the task's labelled rows, `t` counts periods of `decay_steps` optimizer steps.

    | kind | loss | metrics in the logs |
    |---|---|---|
    | `binary` | `MaskedBinaryCrossentropy` | `{task}_auc`, `{task}_logloss`, `{task}_calibration` |
    | `regression` | `MaskedMeanSquaredError` | `{task}_rmse` |

    Keras 3 takes `{task}` from the keys of the model's output; tf_keras takes it from the output layers' names, which
    therefore have to be the tasks'. Losses and metrics are new objects at each call, so call it once for each model. The
    `loss` that Keras logs follows the weights: with decaying weights, let early stopping watch a metric.

    Args:
        tasks: the tasks that the model predicts, such as `schema.tasks`.
        optimizer: the one given to `compile`. Needed where a task has a `weight_decay`: its steps are the clock.
        decay_steps: optimizer steps from one `t` to the next. The steps of an epoch give the paper's formula,
            1 the paper's prose. Needed where a task has a `weight_decay`.

    Raises:
        ValueError: no task, something else than a `Task`, a name given twice, or a `weight_decay` without optimizer and
            `decay_steps` or off TensorFlow.

    Example:

    ```python
    model.compile(optimizer, **objectives(schema.tasks))

    # Tasks that declare a `weight_decay`:
    model.compile(optimizer, **objectives(schema.tasks, optimizer=optimizer, decay_steps=steps_per_epoch))
    ```

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 4.3. Its formula lets `t` be the epoch,
        its text the step; `decay_steps` covers both.
    """
    tasks = _checked(tasks)
    alone = len(tasks) == 1
    return {
        "loss": {task.name: _loss(task) for task in tasks},
        "loss_weights": {task.name: _weight(task, optimizer, decay_steps) for task in tasks},
        # Keras puts the output's name before a metric's, except where there is one output only.
        "metrics": {task.name: _metrics(task, f"{task.name}_" if alone else "") for task in tasks},
    }


def _checked(tasks: Iterable[Task]) -> tuple[Task, ...]:
    tasks = tuple(tasks)
    if not tasks or not all(isinstance(task, Task) for task in tasks):
        raise ValueError(f"`tasks` must be `Task`s, at least one. Received: tasks={tasks!r}")
    check_distinct("task", (task.name for task in tasks))
    return tasks


def _loss(task: Task) -> MaskedLoss:
    return MaskedBinaryCrossentropy() if task.kind == "binary" else MaskedMeanSquaredError()


def _metrics(task: Task, prefix: str) -> list[keras.metrics.Metric]:
    if task.kind == "regression":
        return [MaskedRootMeanSquaredError(name=f"{prefix}rmse")]
    return [
        MaskedAUC(name=f"{prefix}auc"),
        MaskedLogLoss(name=f"{prefix}logloss"),
        MaskedCalibration(name=f"{prefix}calibration"),
    ]


def _weight(task: Task, optimizer: Any, decay_steps: int | None) -> float | DecayingWeight:
    if task.weight_decay == 1.0:
        return task.weight
    if BACKEND != "tensorflow":
        raise ValueError(
            f"`weight_decay` works on the TensorFlow backend. Received: task={task.name!r}, backend={BACKEND!r}"
        )
    if not hasattr(optimizer, "iterations") or decay_steps is None:
        raise ValueError(
            f"Task {task.name!r} has weight_decay={task.weight_decay}: `objectives` needs `optimizer`, the object given to "
            f"`compile`, and `decay_steps` >= 1. Received: optimizer={optimizer!r}, decay_steps={decay_steps!r}"
        )
    return DecayingWeight(task.weight, task.weight_decay, check_count("decay_steps", decay_steps), optimizer)

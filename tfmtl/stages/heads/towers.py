"""A tower for each task."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfmtl.checks import check_units
from tfmtl.keras_host import keras, register_layer
from tfmtl.layers.task_tower import TaskTower
from tfmtl.losses.task_loss import loss_to_dict
from tfmtl.schema.names import check_distinct
from tfmtl.schema.tasks import Task
from tfmtl.stages.heads.label_means import Start, label_means
from tfmtl.typing import Predictions, Streams

Units = int | Sequence[int] | Mapping[str, int | Sequence[int]]


@register_layer
class Towers(keras.layers.Layer):
    """Gives every task a tower of its own.

    Args:
        tasks: the tasks; what each one predicts (`Task.output`) decides its tower's link.
        units: hidden layers of every tower, or `{task: hidden layers}`.
        activation, dropout, batch_norm: as in `TaskTower`.
        base_rates: `{task: mean of its labels}`, of a binary task its share of positives, of a multiclass one the rates of its
            classes, where the towers start (see `TaskTower`), for as many tasks as are known. None takes what the schema has learned of its tasks (`adapt`); `{}`
            starts all towers at 0.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ...}`; other streams are not read.

    Output shape:
        `{task: (B, 1)}` float32; `(B, C)` of a task with C classes, or as wide as its loss asks for.

    Raises:
        ValueError: no task, `units` or `base_rates` that name other tasks, streams that lack a task, or what
            `TaskTower` refuses.

    Example:

    >>> import keras
    >>> from tfmtl import Task, Towers
    >>> x = keras.random.normal((8, 100))
    >>> y = Towers([Task("click"), Task("watch", "regression")], units=(32,))({"click": x, "watch": x})
    >>> tuple(y["watch"].shape)
    (8, 1)
    """

    def __init__(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        *,
        units: Units = (64,),
        activation: Any = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        base_rates: Mapping[str, Start] | None = None,
        name: str = "head",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        read = read_tasks(tasks)
        self._read = tuple(read.values())
        self.kinds = {name: task.kind for name, task in read.items()}
        self.units = units_by_task(units, self.kinds)
        self.base_rates = label_means(read, base_rates)
        self.towers = {
            task: TaskTower(
                self.units[task],
                kind=kind,
                output=read[task].output,
                activation=activation,
                dropout=dropout,
                batch_norm=batch_norm,
                label_mean=self.base_rates.get(task),
                dtype=self.dtype_policy,
                name=f"{task}_tower",
            )
            for task, kind in self.kinds.items()
        }

    def build(self, input_shape: Mapping[str, Any]) -> None:
        missing = [task for task in self.towers if task not in input_shape]
        if missing:
            raise ValueError(f"The streams lack tasks {missing}. Received: keys={sorted(input_shape)}")
        for task, tower in self.towers.items():
            tower.build(input_shape[task])
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Predictions:
        return {task: tower(streams[task], training=training) for task, tower in self.towers.items()}

    def get_config(self) -> dict[str, Any]:
        tower = next(iter(self.towers.values())).get_config()
        return {
            **super().get_config(),
            "tasks": [task_config(task) for task in self._read],
            "units": {task: list(units) for task, units in self.units.items()},
            **{key: tower[key] for key in ("activation", "dropout", "batch_norm")},
            "base_rates": dict(self.base_rates),
        }


def read_tasks(tasks: Iterable[Task | Mapping[str, Any]]) -> dict[str, Task]:
    """`{name: task}` of tasks, or of what a config made of them."""
    given = list(tasks)
    if not given or not all(isinstance(task, (Task, Mapping)) for task in given):
        raise ValueError(f"`tasks` must be one task or more, `Task`s such as `schema.tasks`. Received: tasks={given}")
    read = [task if isinstance(task, Task) else Task(**task) for task in given]
    check_distinct("task", (task.name for task in read))
    return {task.name: task for task in read}


def task_config(task: Task) -> dict[str, Any]:
    """What a head keeps of a task, as JSON types: all that decides what it predicts, from which `read_tasks` makes it again."""
    config: dict[str, Any] = {"name": task.name, "kind": task.kind}
    if task.kind == "multiclass":
        config |= {"num_classes": task.num_classes, "ordered": task.ordered}
    if task.loss is not None and task.loss.output is not None:
        config["loss"] = loss_to_dict(task.loss)
    return config


def units_by_task(units: Units, tasks: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """`{task: hidden layers}`, from one setting for all or one for each."""
    if not isinstance(units, Mapping):
        return dict.fromkeys(tasks, check_units("units", units))
    if set(units) != set(tasks):
        raise ValueError(f"`units` must name every task. Received: {sorted(units)}; tasks: {sorted(tasks)}")
    return {task: check_units("units", units[task]) for task in tasks}

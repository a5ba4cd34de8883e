"""A tower for each task."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras, register
from tfmtl.layers.head.task_tower import TaskTower
from tfmtl.spec.tasks import Task
from tfmtl.typing import Predictions, Streams

Units = Sequence[int] | Mapping[str, Sequence[int]]


@register
class Towers(keras.layers.Layer):
    """Gives every task a tower of its own.

    Args:
        tasks: the tasks; each one's kind decides its tower's link.
        units: hidden layers of every tower, or `{task: hidden layers}`.
        activation, dropout, batch_norm: as in `TaskTower`.

    Input shape:
        `{task: (B, D_task), ...}`; other streams are not read.

    Output shape:
        `{task: (B, 1)}` float32.

    Raises:
        ValueError: no task, `units` that name other tasks, or streams that lack a task.

    Example:

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
        name: str = "head",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.kinds = task_kinds(tasks)
        self.units = units_by_task(units, self.kinds)
        self.towers = {
            task: TaskTower(
                self.units[task],
                kind=kind,
                activation=activation,
                dropout=dropout,
                batch_norm=batch_norm,
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
            "tasks": [{"name": task, "kind": kind} for task, kind in self.kinds.items()],
            "units": {task: list(units) for task, units in self.units.items()},
            **{key: tower[key] for key in ("activation", "dropout", "batch_norm")},
        }


def task_kinds(tasks: Iterable[Task | Mapping[str, Any]]) -> dict[str, Any]:
    """`{task: kind}` of tasks, or of what a config made of them."""
    read = [task if isinstance(task, Task) else Task(**task) for task in tasks]
    if not read:
        raise ValueError("`tasks` needs one task or more. Received: tasks=()")
    return {task.name: task.kind for task in read}


def units_by_task(units: Units, tasks: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """`{task: hidden layers}`, from one setting for all or one for each."""
    if not isinstance(units, Mapping):
        return {task: tuple(units) for task in tasks}
    if set(units) != set(tasks):
        raise ValueError(f"`units` must name every task. Received: {sorted(units)}; tasks: {sorted(tasks)}")
    return {task: tuple(units[task]) for task in tasks}

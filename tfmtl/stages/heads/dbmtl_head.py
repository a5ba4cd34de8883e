"""Towers that read each other along a declared graph of tasks."""

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tfmtl.checks import check_units
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.mlp import MLP
from tfmtl.layers.task_tower import TaskTower
from tfmtl.schema.tasks import Task
from tfmtl.stages.heads.label_means import label_means
from tfmtl.stages.heads.towers import read_tasks, task_config
from tfmtl.typing import Predictions, Streams, TaskKind

Parents = Mapping[str, str | Sequence[str]]


@register_layer
class DBMTLHead(keras.layers.Layer):
    """Lets each task draw on what the tasks that it depends on have found.

    ```
    h_t = MLP_t(x_t)
    r_t = Relation_t([h_t, r_p for every parent p of t])        an MLP
    y_t = link(r_t W_t + b_t)
    ```

    The graph is any that has no cycle: a chain, in which ESMM and AITM order their tasks, a click on which three other tasks
    depend, or two tasks that meet in a third. A task without parents has only its own way. Nothing holds the predictions
    of a child below those of its parents; where labels follow a chain strictly, `ESMMHead` does.

    A child's loss also trains the networks of all its ancestors, up to their relations; the last layers are each task's own.

    Args:
        tasks: the tasks, of any kind.
        parents: `{task: the tasks that it depends on}`; tasks that are not named depend on none.
        units: hidden layers of every task's own network.
        relation_units: hidden layers of every task's relation.
        activation, dropout, batch_norm: of both, as in `MLP`.
        base_rates: `{task: mean of its labels}`, as in `Towers`; None takes what the schema has learned.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ...}`; other streams are not read.

    Output shape:
        `{task: (B, 1)}` float32.

    Raises:
        ValueError: `parents` that are not tasks, a task twice among the parents of one, tasks that depend on each other in a
            circle, no graph at all; `base_rates` of other tasks; streams that lack a task.

    Example:

    >>> import keras
    >>> from tfmtl import Task
    >>> from tfmtl.stages import DBMTLHead
    >>> x = keras.random.normal((8, 100))
    >>> tasks = [Task("click"), Task("like"), Task("buy")]
    >>> y = DBMTLHead(tasks, {"like": ["click"], "buy": ["click", "like"]})({"click": x, "like": x, "buy": x})
    >>> tuple(y["buy"].shape)
    (8, 1)

    Reference:
        Wang et al., "Deep Bayesian Multi-Target Learning for Recommender Systems" (DBMTL), 2019, arXiv:1902.09154. The paper
        has three targets over shared and own layers; here any graph over any trunk. Its relation of a target without parents
        is a network too, as here.
    """

    def __init__(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        parents: Parents,
        *,
        units: int | Sequence[int] = (64,),
        relation_units: int | Sequence[int] = (32,),
        activation: Any = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        base_rates: Mapping[str, float] | None = None,
        name: str = "head",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        read = read_tasks(tasks)
        self._read = tuple(read.values())
        self.parents, self.order = _checked_graph(parents, read)
        self.base_rates = label_means(read, base_rates)
        policy = self.dtype_policy
        options = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm, "dtype": policy}
        self.units, self.relation_units = check_units("units", units), check_units("relation_units", relation_units)
        self.hidden = {task: MLP(self.units, name=f"{task}_hidden", **options) for task in read}
        self.relations = {task: MLP(self.relation_units, name=f"{task}_relation", **options) for task in read}
        self.outputs = {
            name: TaskTower(
                (),
                kind=task.kind,
                output=task.output,
                label_mean=self.base_rates.get(name),
                dtype=policy,
                name=f"{name}_output",
            )
            for name, task in read.items()
        }

    @property
    def kinds(self) -> dict[str, TaskKind]:
        """`{task: its kind}`."""
        return {task: output.kind for task, output in self.outputs.items()}

    def build(self, input_shape: Mapping[str, Any]) -> None:
        missing = [task for task in self.order if task not in input_shape]
        if missing:
            raise ValueError(f"The streams lack tasks {missing}. Received: keys={sorted(input_shape)}")
        widths: dict[str, int] = {}
        for task in self.order:
            self.hidden[task].build(input_shape[task])
            own = _width_of(self.hidden[task], input_shape[task])
            read = (None, own + sum(widths[parent] for parent in self.parents[task]))
            self.relations[task].build(read)
            widths[task] = _width_of(self.relations[task], read)
            self.outputs[task].build((None, widths[task]))
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Predictions:
        found: Streams = {}
        for task in self.order:
            own = self.hidden[task](streams[task], training=training)
            read = [own, *(found[parent] for parent in self.parents[task])]
            found[task] = self.relations[task](ops.concatenate(read, axis=-1), training=training)
        return {task: output(found[task], training=training) for task, output in self.outputs.items()}

    def get_config(self) -> dict[str, Any]:
        hidden = next(iter(self.hidden.values())).get_config()
        return {
            **super().get_config(),
            "tasks": [task_config(task) for task in self._read],
            "parents": {task: list(found) for task, found in self.parents.items()},
            "units": list(self.units),
            "relation_units": list(self.relation_units),
            **{key: hidden[key] for key in ("activation", "dropout", "batch_norm")},
            "base_rates": dict(self.base_rates),
        }


def _width_of(network: MLP, input_shape: Any) -> int:
    return int(network.compute_output_shape(input_shape)[-1] or 0)


def _checked_graph(parents: Parents, tasks: Iterable[str]) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The parents of every task, and the tasks in an order in which parents come before their children."""
    names = list(tasks)
    if not isinstance(parents, Mapping):
        raise ValueError(f"`parents` must be {{task: the tasks that it depends on}}. Received: parents={parents!r}")
    graph: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    graph |= {task: (found,) if isinstance(found, str) else tuple(found) for task, found in parents.items()}
    unknown = sorted({name for task, found in graph.items() for name in (task, *found)} - set(names))
    if unknown:
        raise ValueError(f"`parents` must name tasks. Received: {unknown}; tasks: {names}")
    twice = [task for task, found in graph.items() if len(set(found)) < len(found)]
    if twice:
        raise ValueError(f"A task depends on another once. Received: parents of {twice[0]!r}={list(graph[twice[0]])}")
    try:
        return graph, tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise ValueError(
            f"No task may depend on itself, not by way of others either. Received: a circle {circle}"
        ) from None

"""Towers with a network of their own for every scenario, around one that all share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfmtl.checks import check_count, check_dropout, check_units
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.mlp import MLP
from tfmtl.layers.partitioned_normalization import PartitionedNormalization
from tfmtl.layers.star_dense import StarDense
from tfmtl.layers.task_tower import TaskTower
from tfmtl.schema.tasks import Task
from tfmtl.stages.heads.label_means import Start, label_means
from tfmtl.stages.heads.towers import Units, read_tasks, task_config, units_by_task
from tfmtl.typing import SCENARIO, Predictions, Streams, Tensor


@register_layer
class STARHead(keras.layers.Layer):
    """Gives every task a tower whose weights are a shared part times one of the row's scenario.

    ```
    h_{t,0} = PartitionedNormalization(x_t, p)                          p: the scenario of the row
    h_{t,l} = StarDense_{t,l}(h_{t,l-1}, p)                             l = 1 .. L
    a_t     = MLP_t([E_p; x_t])                                         the auxiliary network
    y_t     = link((w_{t,p} * h_{t,L}) W_t + a_t V_t + b_t)
    ```

    Args:
        tasks: the tasks.
        units: hidden layers of every tower, or `{task: hidden layers}`.
        auxiliary_units: hidden layers of the auxiliary network, of every task; `()` leaves that network out.
        scenario_dim: width of `E_p`, a vector for each scenario that all tasks share.
        normalize: whether towers normalise what they read by scenario.
        activation: of the hidden layers.
        dropout: share of hidden units set to zero in training.
        base_rates: `{task: mean of its labels}`, as in `Towers`; None takes what the schema has learned.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "scenario": (B, P)}`: what a trunk gives, and the side stream of a bottom that was made with
        `scenario`.

    Output shape:
        `{task: (B, 1)}` float32; `(B, C)` of a task with C classes, or as wide as its loss asks for.

    Raises:
        ValueError: `dropout` outside [0, 1), streams that lack a task or the scenario, or what `Towers` refuses.

    Example:

    >>> import keras
    >>> from tfmtl import Task
    >>> from tfmtl.stages import STARHead
    >>> x, scenario = keras.random.normal((8, 100)), keras.ops.one_hot([0, 1, 2, 0, 1, 2, 0, 1], 3)
    >>> y = STARHead([Task("click"), Task("buy")], units=(64, 32))({"click": x, "buy": x, "scenario": scenario})
    >>> tuple(y["buy"].shape)
    (8, 1)

    Reference:
        Sheng et al., "One Model to Serve All: Star Topology Adaptive Recommender for Multi-Domain CTR Prediction" (STAR),
        CIKM 2021, arXiv:2101.11427, section 4, for one task; here every task has such a tower. The last layer is a star too:
        with one output, `h (W * W_p)` is `(w_p * h) W`. Its scenario's bias is left to the auxiliary network, whose sizes the
        paper does not give.
    """

    side_streams = (SCENARIO,)

    def __init__(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        *,
        units: Units = (64,),
        auxiliary_units: Sequence[int] = (32,),
        scenario_dim: int = 16,
        normalize: bool = True,
        activation: Any = "relu",
        dropout: float = 0.0,
        base_rates: Mapping[str, Start] | None = None,
        name: str = "head",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        read = read_tasks(tasks)
        self._read = tuple(read.values())
        self.kinds = {name: task.kind for name, task in read.items()}
        self.units = units_by_task(units, self.kinds)
        self.auxiliary_units = check_units("auxiliary_units", auxiliary_units)
        self.scenario_dim = check_count("scenario_dim", scenario_dim)
        check_dropout(dropout)
        self.normalize = normalize
        self.activation = keras.activations.get(activation)
        self.base_rates = label_means(read, base_rates)
        policy = self.dtype_policy
        self.norms = {
            task: PartitionedNormalization(dtype=policy, name=f"{task}_norm") for task in self.kinds if normalize
        }
        self.dense = {
            f"{task}_{depth}": StarDense(width, activation=self.activation, dtype=policy, name=f"star_{task}_{depth}")
            for task, widths in self.units.items()
            for depth, width in enumerate(widths)
        }
        self.auxiliaries = {
            task: MLP(
                self.auxiliary_units,
                activation=self.activation,
                dropout=dropout,
                dtype=policy,
                name=f"{task}_auxiliary",
            )
            for task in self.kinds
            if self.auxiliary_units
        }
        self.outputs = {
            task: TaskTower(
                (),
                kind=kind,
                output=read[task].output,
                label_mean=self.base_rates.get(task),
                dtype=policy,
                name=f"{task}_output",
            )
            for task, kind in self.kinds.items()
        }
        self.drop = keras.layers.Dropout(dropout, dtype=policy, name="drop")

    def layers_of(self, task: str) -> list[StarDense]:
        """The hidden layers of a tower."""
        return [self.dense[f"{task}_{depth}"] for depth in range(len(self.units[task]))]

    def build(self, input_shape: Mapping[str, Any]) -> None:
        missing = [name for name in (*self.kinds, SCENARIO) if name not in input_shape]
        if missing:
            raise ValueError(f"The streams lack {missing}. Received: keys={sorted(input_shape)}")
        scenario = tuple(input_shape[SCENARIO])
        self.last = {}
        if self.auxiliaries:
            shape = (scenario[-1], self.scenario_dim)
            self.scenarios = self.add_weight(name="scenarios", shape=shape, initializer="uniform")
        for task in self.kinds:
            width = input_shape[task][-1]
            beside = 0
            if task in self.auxiliaries:
                self.auxiliaries[task].build((None, self.scenario_dim + width))
                beside = self.auxiliary_units[-1]
            if task in self.norms:
                self.norms[task].build([(None, width), scenario])
            for dense in self.layers_of(task):
                dense.build([(None, width), scenario])
                width = dense.units
            self.last[task] = self.add_weight(name=f"{task}_last", shape=(scenario[-1], width), initializer="ones")
            self.outputs[task].build((None, width + beside))
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Predictions:
        scenario = streams[SCENARIO]
        return {task: self._tower(task, streams[task], scenario, training) for task in self.kinds}

    def _tower(self, task: str, x: Tensor, scenario: Tensor, training: bool | None) -> Tensor:
        h = self.norms[task]([x, scenario], training=training) if task in self.norms else x
        for dense in self.layers_of(task):
            h = self.drop(dense([h, scenario]), training=training)
        h = h * ops.matmul(scenario, ops.cast(self.last[task], scenario.dtype))
        if task in self.auxiliaries:
            vector = ops.matmul(scenario, ops.cast(self.scenarios, scenario.dtype))  # E_p
            auxiliary = self.auxiliaries[task](ops.concatenate([vector, x], axis=-1), training=training)
            h = ops.concatenate([h, auxiliary], axis=-1)
        return self.outputs[task](h, training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "tasks": [task_config(task) for task in self._read],
            "units": {task: list(units) for task, units in self.units.items()},
            "auxiliary_units": list(self.auxiliary_units),
            "scenario_dim": self.scenario_dim,
            "normalize": self.normalize,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.drop.rate,
            "base_rates": dict(self.base_rates),
        }

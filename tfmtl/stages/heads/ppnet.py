"""Towers whose units are scaled by who sees what of whom."""

from collections.abc import Iterable, Mapping
from typing import Any

from tfmtl.checks import check_dropout
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.gate_nu import GateNU
from tfmtl.layers.task_tower import TaskTower
from tfmtl.schema.tasks import Task
from tfmtl.stages.heads.label_means import Start, label_means
from tfmtl.stages.heads.towers import Units, read_tasks, task_config, units_by_task
from tfmtl.typing import PRIOR, Predictions, Streams, Tensor


@register_layer
class PPNet(keras.layers.Layer):
    """Gives every task a tower, each of whose hidden layers is scaled by a gate that reads user, item and author.

    ```
    d_{t,l} = GateNU_{t,l}([p; stop(x_t)])                          p: the embeddings of the priors
    h_{t,l} = d_{t,l} * activation(h_{t,l-1} W_{t,l} + b_{t,l})     h_{t,0} = x_t, l = 1 .. L
    y_t     = link(h_{t,L} W_t + b_t)
    ```

    Gates learn the priors' tables too, and read `x_t` without a way back.

    Args:
        tasks: the tasks.
        units: hidden layers of every tower, one or more, or `{task: hidden layers}`.
        gate_units: width of the gates' hidden layers; None takes that of the layer which a gate scales.
        scale: the gates' largest factor.
        activation: of the towers' hidden layers, before the gate.
        dropout: share of a tower's hidden units set to zero in training, after the gate.
        base_rates: `{task: mean of its labels}`, as in `Towers`; None takes what the schema has learned.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "prior": (B, D)}`: what a trunk gives, and the side stream of a bottom that was made with
        `priors`.

    Output shape:
        `{task: (B, 1)}` float32; `(B, C)` of a task with C classes, or as wide as its loss asks for.

    Raises:
        ValueError: a tower without hidden layers, `dropout` outside [0, 1), streams that lack a task or the priors, or what
            `Towers` and `GateNU` refuse.

    Example:

    >>> import keras
    >>> from tfmtl import Task
    >>> from tfmtl.stages import PPNet
    >>> x, prior = keras.random.normal((8, 100)), keras.random.normal((8, 24))
    >>> y = PPNet([Task("click"), Task("buy")], units=(64, 32))({"click": x, "buy": x, "prior": prior})
    >>> tuple(y["buy"].shape)
    (8, 1)

    Reference:
        Chang et al., "PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior
        Information", KDD 2023, arXiv:2302.01115, section 3.4. There all tasks read one tensor, and one gate a layer, split by
        task, scales all towers; here a trunk may have given them streams of their own, so each has gates of its own. Every
        hidden layer is scaled, and the tower's input is not: that is what `EPNet` does. Gates by task, scaling after the
        activation and the gates' widths are those of TorchEasyRec too.
    """

    side_streams = (PRIOR,)

    def __init__(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        *,
        units: Units = (64,),
        gate_units: int | None = None,
        scale: float = 2.0,
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
        bare = [task for task, widths in self.units.items() if not widths]
        if bare:
            raise ValueError(f"`units` needs a hidden layer for the gates to scale. Received: none for {bare}")
        check_dropout(dropout)
        self.gate_units = gate_units
        self.scale = scale
        self.activation = keras.activations.get(activation)
        self.base_rates = label_means(read, base_rates)
        policy = self.dtype_policy
        self.dense, self.scales = {}, {}
        for task, widths in self.units.items():
            for depth, width in enumerate(widths):
                place = f"{task}_{depth}"
                self.dense[place] = keras.layers.Dense(
                    width, activation=self.activation, dtype=policy, name=f"dense_{place}"
                )
                self.scales[place] = GateNU(
                    width, hidden_units=gate_units, scale=scale, dtype=policy, name=f"gate_{place}"
                )
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

    def layers_of(self, task: str) -> list[tuple[Any, GateNU]]:
        """The hidden layers of a tower, each with its gate."""
        places = [f"{task}_{depth}" for depth in range(len(self.units[task]))]
        return [(self.dense[place], self.scales[place]) for place in places]

    def build(self, input_shape: Mapping[str, Any]) -> None:
        missing = [name for name in (*self.kinds, PRIOR) if name not in input_shape]
        if missing:
            raise ValueError(f"The streams lack {missing}. Received: keys={sorted(input_shape)}")
        for task in self.kinds:
            width = input_shape[task][-1]
            read = (None, input_shape[PRIOR][-1] + width)
            for dense, gate in self.layers_of(task):
                dense.build((None, width))
                gate.build(read)
                width = dense.units
            self.outputs[task].build((None, width))
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Predictions:
        return {task: self._tower(task, streams[task], streams[PRIOR], training) for task in self.kinds}

    def _tower(self, task: str, x: Tensor, prior: Tensor, training: bool | None) -> Tensor:
        read = ops.concatenate([prior, ops.stop_gradient(x)], axis=-1)
        for dense, gate in self.layers_of(task):
            x = self.drop(gate(read) * dense(x), training=training)
        return self.outputs[task](x, training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "tasks": [task_config(task) for task in self._read],
            "units": {task: list(units) for task, units in self.units.items()},
            "gate_units": self.gate_units,
            "scale": self.scale,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.drop.rate,
            "base_rates": dict(self.base_rates),
        }

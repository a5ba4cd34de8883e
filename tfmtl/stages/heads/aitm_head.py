"""Adaptive information transfer along a chain of steps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfmtl.checks import check_units
from tfmtl.keras_host import keras, register_layer
from tfmtl.layers.chain_calibrator import ChainCalibrator, Reduction
from tfmtl.layers.information_transfer import InformationTransfer
from tfmtl.layers.mlp import MLP
from tfmtl.layers.task_tower import TaskTower
from tfmtl.schema.chains import check_steps
from tfmtl.schema.tasks import Task
from tfmtl.stages.heads.label_means import Start, label_means
from tfmtl.stages.heads.towers import read_tasks, task_config
from tfmtl.typing import Predictions, Streams


@register_layer
class AITMHead(keras.layers.Layer):
    """Lets every step of a chain draw on the step before, and punishes predictions that grow along the chain.

    ```
    h_t = MLP_t(x_t)
    z   = InformationTransfer(h)                              along the chain; elsewhere z_t = h_t
    y_t = link(MLP'_t(z_t) W_t + b_t)                         MLP' has no layer by default
    loss += calibrator * mean_rows(sum_t max(y_t - y_{t-1}, 0))
    ```

    The label of a step is 1 where the whole path to it happened and 0 elsewhere: the calibrator compares probabilities
    over the same rows. So no step may have another step as its `sample_space`.

    Args:
        tasks: the tasks; those outside of the chain get a tower.
        chain: names of the steps, the first one first; two or more.
        units: hidden layers before the transfer, of every task.
        output_units: hidden layers after the transfer, of every task.
        calibrator: weight of the calibrator; 0 switches it off.
        calibrator_reduction: `"mean"` over the rows, or `"sum"`, as in some public code: it grows with the batch.
        activation, dropout: of the hidden layers; the dropout also of what is handed on.
        transfer_activation: of what a step hands on; None leaves it linear.
        attention_bias, share_attention: as in `InformationTransfer`.
        base_rates: `{task: mean of its labels}`, as in `Towers`; None takes what the schema has learned.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ...}`; other streams are not read.

    Output shape:
        `{task: (B, 1)}` float32; tasks outside of the chain as in `Towers`.

    Raises:
        ValueError: an unknown `calibrator_reduction`; a chain of fewer than two steps, with a step twice, that is no binary task, or that is defined only
            where another one happened; `base_rates` that name other tasks; streams that lack a task, or, without
            `units`, of several widths along the chain.

    Example:

    >>> import keras
    >>> from tfmtl import AITMHead, Task
    >>> x = keras.random.normal((8, 100))
    >>> y = AITMHead([Task("click"), Task("buy")], ["click", "buy"])({"click": x, "buy": x})
    >>> tuple(y["buy"].shape)
    (8, 1)

    Reference:
        Xi et al., "Modeling the Sequential Dependence among Audience Multi-step Conversions" (AITM), KDD 2021,
        arXiv:2105.08489, in the form of the authors' code; see `InformationTransfer` and `ChainCalibrator`. The options
        `output_units`, `transfer_activation`, `calibrator_reduction` and `attention_bias` are what other public versions do.
    """

    def __init__(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        chain: Sequence[str],
        *,
        units: Sequence[int] = (64,),
        output_units: Sequence[int] = (),
        calibrator: float = 0.6,
        calibrator_reduction: Reduction = "mean",
        activation: Any = "relu",
        dropout: float = 0.0,
        transfer_activation: Any = "relu",
        attention_bias: bool = False,
        share_attention: bool = True,
        base_rates: Mapping[str, Start] | None = None,
        name: str = "head",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        read = read_tasks(tasks)
        self._read = tuple(read.values())
        self.kinds = {name: task.kind for name, task in read.items()}
        self.units = check_units("units", units)
        self.output_units = check_units("output_units", output_units)
        self.calibrator = calibrator
        self.activation = keras.activations.get(activation)
        policy = self.dtype_policy
        self.hidden = {
            task: MLP(self.units, activation=activation, dropout=dropout, dtype=policy, name=f"{task}_hidden")
            for task in self.kinds
        }
        self.transfer = InformationTransfer(
            chain,
            activation=transfer_activation,
            dropout=dropout,
            attention_bias=attention_bias,
            share_attention=share_attention,
            dtype=policy,
            name="transfer",
        )
        check_steps(self.transfer.chain, read)
        self.base_rates = label_means(read, base_rates)
        self.outputs = {
            task: TaskTower(
                self.output_units,
                kind=kind,
                activation=activation,
                dropout=dropout,
                output=read[task].output,
                label_mean=self.base_rates.get(task),
                dtype=policy,
                name=f"{task}_output",
            )
            for task, kind in self.kinds.items()
        }
        self.calibrate = ChainCalibrator(
            self.transfer.chain, weight=calibrator, reduction=calibrator_reduction, name="calibrator"
        )

    def build(self, input_shape: Mapping[str, Any]) -> None:
        missing = [task for task in self.kinds if task not in input_shape]
        if missing:
            raise ValueError(f"The streams lack tasks {missing}. Received: keys={sorted(input_shape)}")
        shapes = {}
        for task, hidden in self.hidden.items():
            hidden.build(input_shape[task])
            shapes[task] = hidden.compute_output_shape(input_shape[task])
        self.transfer.build(shapes)
        for task, output in self.outputs.items():
            output.build(shapes[task])
        self.calibrate.build({task: (None, output.gives.width) for task, output in self.outputs.items()})
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Predictions:
        hidden = {task: layer(streams[task], training=training) for task, layer in self.hidden.items()}
        handed = self.transfer(hidden, training=training)
        predictions = {task: output(handed[task], training=training) for task, output in self.outputs.items()}
        return self.calibrate(predictions) if self.calibrator else predictions

    def get_config(self) -> dict[str, Any]:
        transfer = self.transfer.get_config()
        return {
            **super().get_config(),
            "tasks": [task_config(task) for task in self._read],
            "units": list(self.units),
            "output_units": list(self.output_units),
            "calibrator": self.calibrator,
            "calibrator_reduction": self.calibrate.reduction,
            "transfer_activation": transfer["activation"],
            "activation": keras.activations.serialize(self.activation),
            **{key: transfer[key] for key in ("chain", "dropout", "attention_bias", "share_attention")},
            "base_rates": dict(self.base_rates),
        }

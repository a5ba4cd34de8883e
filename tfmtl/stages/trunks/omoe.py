"""One gate for all tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.checks import check_count, check_units
from tfmtl.keras_host import keras, register_layer
from tfmtl.layers.experts import Experts
from tfmtl.layers.fast.weighted_sums import weighted_sums
from tfmtl.layers.gate import Gate
from tfmtl.layers.stream_checks import check_streams, task_names
from tfmtl.typing import SHARED, Mixture, Streams


@register_layer
class OMoE(keras.layers.Layer):
    """Mixes shared experts in one way for all tasks.

    ```
    y_t = sum_i softmax(W x_shared)_i Expert_i(x_shared)        the same for every task t
    ```

    Args:
        units: width of an expert, or the widths of its layers.
        num_experts: experts.
        gate_units: hidden layers of the gate.
        gate_use_bias: whether the gate has a bias, as in `CGCLayer`.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`; only the shared stream is read.

    Output shape:
        `{task: (B, units[-1])}`.

    Raises:
        ValueError: fewer than 2 experts, `dropout` outside [0, 1), or streams without `"shared"` or without a task.

    Example:

    >>> import keras
    >>> from tfmtl.stages import OMoE
    >>> x = keras.random.normal((8, 100))
    >>> y = OMoE(32, num_experts=4)({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape)
    (8, 32)

    Reference:
        Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018,
        section 3.3.
    """

    reads_own = False
    reads_shared = True

    def __init__(
        self,
        units: int | Sequence[int] = 256,
        *,
        num_experts: int = 8,
        gate_units: Sequence[int] = (),
        gate_use_bias: bool = False,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        num_experts = check_count("num_experts", num_experts, least=2, why="one expert is a shared bottom")
        self.units = check_units("units", units)
        self.experts = Experts(
            num_experts,
            self.units,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="experts",
        )
        self.gate = Gate(num_experts, units=gate_units, use_bias=gate_use_bias, dtype=self.dtype_policy, name="gate")

    def build(self, input_shape: Mapping[str, Any]) -> None:
        self.tasks = task_names(input_shape, needs_shared=True)
        self.experts.build(input_shape[SHARED])
        self.gate.build(input_shape[SHARED])
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        check_streams(self, streams)
        x = streams[SHARED]
        mixed = weighted_sums({SHARED: self.gate(x)}, self.experts(x, training=training), training)
        return dict.fromkeys(self.tasks, mixed[SHARED])

    def gates(self, streams: Streams) -> Streams:
        """The mixing weights `{task: (B, E)}`, the same for every task."""
        return dict.fromkeys(self.tasks, self.gate(streams[SHARED]))

    def mixtures(self, streams: Streams) -> list[Mixture]:
        """What the experts give, and the one gate: that of the shared stream (`tfmtl.typing.MixesExperts`)."""
        x = streams[SHARED]
        return [Mixture(self.name, {SHARED: self.experts(x)}, {SHARED: self.gate(x)}, {SHARED: (SHARED,)})]

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        tasks = task_names(input_shape, needs_shared=True)
        check_streams(self, input_shape)
        return dict.fromkeys(tasks, (input_shape[SHARED][0], self.units[-1]))

    def get_config(self) -> dict[str, Any]:
        experts = self.experts.get_config()
        return {
            **super().get_config(),
            "units": list(self.units),
            "num_experts": self.experts.num,
            "gate_units": list(self.gate.units),
            "gate_use_bias": self.gate.use_bias,
            **{key: experts[key] for key in ("activation", "dropout", "kernel_initializer")},
        }

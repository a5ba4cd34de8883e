"""Multi-gate mixture-of-experts."""

from collections.abc import Sequence
from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import register_layer
from tfmtl.layers.cgc_layer import CGCLayer, GateInput


@register_layer
class MMoE(CGCLayer):
    """Mixes shared experts in each task's own way.

    ```
    y_t = sum_i softmax(W_t x_t)_i Expert_i(x_shared)
    ```

    Args:
        units: width of an expert, or the widths of its layers.
        num_experts: experts, which all tasks read.
        gate_units: hidden layers of the gates; the paper has none.
        gate_input: what task t's gate reads: `"task"` (x_t), `"sum"` (x_t + x_shared) or `"concat"` of the two.
        gate_use_bias: whether gates have a bias, as in `CGCLayer`.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`; experts read the shared stream, a task's gate its own.

    Output shape:
        `{task: (B, units[-1])}`.

    Raises:
        ValueError: no expert, no unit, an unknown option, `dropout` outside [0, 1), or streams without a task, without
            `"shared"`, or of different widths where they are added.

    Example:

    >>> import keras
    >>> from tfmtl.stages import MMoE
    >>> x = keras.random.normal((8, 100))
    >>> streams = {"click": x, "buy": x, "shared": x}
    >>> trunk = MMoE(32, num_experts=4)
    >>> tuple(trunk(streams)["buy"].shape), tuple(trunk.gates(streams)["buy"].shape)
    ((8, 32), (8, 4))

    Reference:
        Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018.
    """

    def __init__(
        self,
        units: int | Sequence[int] = 256,
        *,
        num_experts: int = 8,
        gate_units: Sequence[int] = (),
        gate_input: GateInput = "task",
        gate_use_bias: bool = False,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(
            units,
            num_task_experts=0,
            num_shared_experts=check_count("num_experts", num_experts),
            gate_units=gate_units,
            gate_input=gate_input,
            gate_use_bias=gate_use_bias,
            update_shared=False,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            name=name,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for fixed in ("num_task_experts", "cross_task", "shared_stream_stop_specific", "update_shared"):
            del config[fixed]
        return {"num_experts": config.pop("num_shared_experts"), **config}

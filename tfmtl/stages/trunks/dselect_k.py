"""A mixture of experts whose gates choose a few."""

from collections.abc import Sequence
from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import register_layer
from tfmtl.layers.cgc_layer import CGCLayer, GateInput
from tfmtl.layers.dselect_k_gate import DSelectKGate


@register_layer
class DSelectK(CGCLayer):
    """Mixes shared experts in each task's own way, `num_selected` of them for a row: MMoE with the gates of DSelect-k.

    ```
    y_t = sum_i DSelectKGate_t(x_t)_i Expert_i(x_shared)
    ```

    All experts are computed, for a task chooses row by row; what the choice gives is a gate that can be read.

    Args:
        units: width of an expert, or the widths of its layers.
        num_experts: experts, which all tasks read; two or more. A power of two needs no penalty (`DSelectKGate`).
        num_selected: how many of them a gate mixes at most.
        gamma: width of the slope of the gates' smooth step.
        entropy: factor of the penalty that draws gates to a choice.
        per_row: whether gates choose for each row; otherwise a task has one choice for all rows.
        gate_input: what task t's gate reads: `"task"` (x_t), `"sum"` (x_t + x_shared) or `"concat"` of the two.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`; experts read the shared stream, a task's gate its own.

    Output shape:
        `{task: (B, units[-1])}`.

    Raises:
        ValueError: fewer than two experts, or what `MMoE` and `DSelectKGate` refuse.

    Example:

    >>> import keras
    >>> from tfmtl.stages import DSelectK
    >>> x = keras.random.normal((8, 100))
    >>> streams = {"click": x, "buy": x, "shared": x}
    >>> trunk = DSelectK(32, num_experts=8, num_selected=2)
    >>> tuple(trunk(streams)["buy"].shape), tuple(trunk.gates(streams)["buy"].shape)
    ((8, 32), (8, 8))

    Reference:
        Hazimeh et al., "DSelect-k: Differentiable Selection in the Mixture of Experts with Applications to Multi-Task
        Learning", NeurIPS 2021, arXiv:2106.03760; see `DSelectKGate`.
    """

    def __init__(
        self,
        units: int | Sequence[int] = 256,
        *,
        num_experts: int = 8,
        num_selected: int = 2,
        gamma: float = 1.0,
        entropy: float = 1e-6,
        per_row: bool = True,
        gate_input: GateInput = "task",
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(
            units,
            num_task_experts=0,
            num_shared_experts=check_count("num_experts", num_experts, least=2),
            gate_input=gate_input,
            update_shared=False,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            name=name,
            **kwargs,
        )
        self.gate_options: dict[str, Any] = {
            "num_selected": num_selected,
            "gamma": gamma,
            "entropy": entropy,
            "per_row": per_row,
        }
        DSelectKGate(self.num_shared_experts, **self.gate_options)  # refuses now what it would refuse when it is built

    def _gate(self, num: int, name: str) -> DSelectKGate:
        return DSelectKGate(num, **self.gate_options, dtype=self.dtype_policy, name=name)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        fixed = ("num_task_experts", "gate_units", "gate_use_bias", "cross_task")
        for key in (*fixed, "shared_stream_stop_specific", "update_shared"):
            del config[key]
        return {"num_experts": config.pop("num_shared_experts"), **self.gate_options, **config}

"""Customized gate control as a trunk."""

from collections.abc import Sequence
from typing import Any

from tfmtl.keras_host import register_layer
from tfmtl.layers.cgc_layer import CGCLayer, CrossTask, GateInput


@register_layer
class CGC(CGCLayer):
    """Mixes every task's own experts with the shared experts, in each task's own way: PLE of one level.

    ```
    y_t = sum_i softmax(W_t x_t)_i e_i        e: the experts of task t over x_t, then the shared ones over x_shared
    ```

    Args:
        units: width of an expert, or the widths of its layers.
        num_task_experts: experts that each task owns.
        num_shared_experts: experts that belong to no task.
        gate_units: hidden layers of the gates; the paper has none.
        gate_input: what task t's gate reads: `"task"` (x_t), `"sum"` (x_t + x_shared) or `"concat"` of the two.
        gate_use_bias: whether gates have a bias; the paper's formula has none, Tencent's code has one.
        cross_task: whether a task also reads other tasks' experts: `"none"`, `"detached"` (forward only: its loss does
            not reach them) or `"full"`.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`. `"shared"` may be left out if nothing reads it.

    Output shape:
        `{task: (B, units[-1])}`.

    Raises:
        ValueError: what `CGCLayer` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.stages import CGC
    >>> x = keras.random.normal((8, 100))
    >>> y = CGC(32, num_task_experts=2, num_shared_experts=1)({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape)
    (8, 32)

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 4.1; see `CGCLayer`.
    """

    def __init__(
        self,
        units: int | Sequence[int] = 256,
        *,
        num_task_experts: int = 2,
        num_shared_experts: int = 2,
        gate_units: Sequence[int] = (),
        gate_input: GateInput = "task",
        gate_use_bias: bool = False,
        cross_task: CrossTask = "none",
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(
            units,
            num_task_experts=num_task_experts,
            num_shared_experts=num_shared_experts,
            gate_units=gate_units,
            gate_input=gate_input,
            gate_use_bias=gate_use_bias,
            cross_task=cross_task,
            update_shared=False,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            name=name,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for fixed in ("shared_stream_stop_specific", "update_shared"):
            del config[fixed]
        return config

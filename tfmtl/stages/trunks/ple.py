"""Progressive layered extraction: a stack of CGC levels."""

from collections.abc import Sequence
from typing import Any

from tfmtl.initializers import fresh
from tfmtl.keras_host import register_layer
from tfmtl.layers.cgc_layer import CGCLayer, CrossTask, GateInput
from tfmtl.stages.trunks.levels import Levels


@register_layer
class PLE(Levels):
    """Separates tasks progressively, level by level.

    ```
    streams_0 = input,   streams_j = CGC_j(streams_{j-1}),   j = 1 .. J;   the last level gives no shared stream
    ```

    From the second level on, gates and experts read what the level below mixed, not the raw input. Below the last level
    a task's loss reaches other tasks' experts through the shared gate; in the last level it does not.
    Where no level reads the shared stream (`num_shared_experts=0` with `gate_input="task"`), no level makes it.

    Args:
        units: one entry a level: the width of its experts, or the widths of their layers.
        num_task_experts: experts that each task owns, of every level.
        num_shared_experts: experts that belong to no task, of every level.
        gate_units: hidden layers of the gates; the paper has none.
        gate_input: what task t's gate reads: `"task"` (x_t), `"sum"` (x_t + x_shared) or `"concat"` of the two.
        gate_use_bias: whether gates have a bias; the paper's formula has none, Tencent's code has one.
        cross_task: whether a task also reads other tasks' experts: `"none"`, `"detached"` (forward only: its loss does
            not reach them) or `"full"`.
        shared_stream_stop_specific: stop the gradient from the shared stream to task experts, as in `CGCLayer`.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert of each level is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`.

    Output shape:
        `{task: (B, units of the last level)}`.

    Raises:
        ValueError: no level, or what `CGCLayer` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.stages import PLE
    >>> x = keras.random.normal((8, 100))
    >>> y = PLE((64, 32), num_task_experts=2, num_shared_experts=2)({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape)
    (8, 32)

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 4.2.
    """

    def __init__(
        self,
        units: Sequence[int | Sequence[int]] = (256, 128),
        *,
        num_task_experts: int = 2,
        num_shared_experts: int = 2,
        gate_units: Sequence[int] = (),
        gate_input: GateInput = "task",
        gate_use_bias: bool = False,
        cross_task: CrossTask = "none",
        shared_stream_stop_specific: bool = False,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(units, kernel_initializer=kernel_initializer, name=name, **kwargs)
        drawn = [fresh(self.kernel_initializer, level) for level in range(len(self.units))]
        levels: list[CGCLayer] = []
        for level in reversed(range(len(self.units))):
            # Only for a level above that reads it: else the gate of the shared stream had weights that never learn.
            update_shared = bool(levels) and levels[0].needs_shared
            cell = CGCLayer(
                self.units[level],
                num_task_experts=num_task_experts,
                num_shared_experts=num_shared_experts,
                gate_units=gate_units,
                gate_input=gate_input,
                gate_use_bias=gate_use_bias,
                cross_task=cross_task,
                shared_stream_stop_specific=shared_stream_stop_specific,
                update_shared=update_shared,
                activation=activation,
                dropout=dropout,
                kernel_initializer=drawn[level],
                name=f"level_{level}",
                dtype=self.dtype_policy,
            )
            levels.insert(0, cell)
        self.levels = levels

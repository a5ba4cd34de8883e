"""Adaptive task-to-task fusion as a trunk: a stack of its levels."""

from collections.abc import Sequence
from typing import Any

from tfmtl.initializers import fresh
from tfmtl.keras_host import register_layer
from tfmtl.layers.adatt_layer import AdaTTLayer
from tfmtl.stages.trunks.levels import Levels


@register_layer
class AdaTT(Levels):
    """Fuses tasks with tasks, level by level.

    ```
    streams_0 = input,   streams_j = AdaTTLayer_j(streams_{j-1}),   j = 1 .. J;   the last level gives no shared stream
    ```

    A task's loss reaches the experts of all tasks in every level.

    Args:
        units: one entry a level: the width of its experts, or the widths of their layers.
        num_task_experts: experts that each task owns, of every level.
        num_shared_experts: experts that belong to no task, of every level; 0 is the paper's AdaTT-sp.
        gate_units: hidden layers of the gates; the paper has none.
        gate_use_bias: whether gates have a bias; the paper's formula has none, the authors' code has one.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert of each level is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`. `"shared"` may be left out without shared experts.

    Output shape:
        `{task: (B, units of the last level)}`.

    Raises:
        ValueError: no level, or what `AdaTTLayer` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.stages import AdaTT
    >>> x = keras.random.normal((8, 100))
    >>> y = AdaTT((64, 32))({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape)
    (8, 32)

    Reference:
        Li et al., "AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in Recommendations", KDD 2023,
        arXiv:2304.04959, section 3; see `AdaTTLayer`.
    """

    def __init__(
        self,
        units: Sequence[int | Sequence[int]] = (256, 128),
        *,
        num_task_experts: int = 2,
        num_shared_experts: int = 1,
        gate_units: Sequence[int] = (),
        gate_use_bias: bool = False,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(units, kernel_initializer=kernel_initializer, name=name, **kwargs)
        self.levels = [
            AdaTTLayer(
                width,
                num_task_experts=num_task_experts,
                num_shared_experts=num_shared_experts,
                gate_units=gate_units,
                gate_use_bias=gate_use_bias,
                update_shared=num_shared_experts > 0 and level < len(self.units) - 1,
                activation=activation,
                dropout=dropout,
                kernel_initializer=fresh(self.kernel_initializer, level),
                name=f"level_{level}",
                dtype=self.dtype_policy,
            )
            for level, width in enumerate(self.units)
        ]

"""Cross-stitch networks."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_option
from tfmtl.keras_host import ops, register_layer
from tfmtl.stages.trunks.stitched_towers import StitchedTowers, TowerInputs
from tfmtl.typing import Tensor

Granularity: TypeAlias = Literal["scalar", "channel"]


@register_layer
class CrossStitch(StitchedTowers):
    """Gives every task a tower, and after every layer lets each tower read all of them by learned weights.

    ```
    h_{t,l} = relu(z_{t,l-1} W_{t,l} + b_{t,l})        z_{t,0} = x_t
    z_{t,l} = sum_j a_{l,t,j} h_{j,l}                  a_l: (T, T), a row for the receiver
    y_t     = z_{t,L}
    ```

    The weights are the same for all rows of a batch; they are not a gate, and not kept positive.

    Args:
        units: width of each layer.
        granularity: `"scalar"`, one weight for a pair of towers, or `"channel"`, one for each of a layer's units too.
        self_weight: where `a` starts on its diagonal; `1 - self_weight` is shared by the rest of a row.
        inputs: what a tower reads: `"own"`, its task's stream, or `"own+shared"`, the shared stream beside it. `"own"`
            loses nothing: over a shared bottom all streams are one tensor, and where they differ `tfmtl.build` sets the
            shared stream beside the trunk's output.
        activation: of every layer, before the stitch.
        dropout: share of a layer's units set to zero in training, before the stitch.
        kernel_initializer: of every kernel; each is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`. `"shared"` may be left out if it is not read.

    Output shape:
        `{task: (B, units[-1])}`.

    Raises:
        ValueError: no width or one below 1, an unknown option, `self_weight` outside [0, 1], `dropout` outside [0, 1),
            or streams without a task or, where it is read, without `"shared"`.

    Example:

    >>> import keras
    >>> from tfmtl.stages import CrossStitch
    >>> x = keras.random.normal((8, 100))
    >>> y = CrossStitch((64, 32))({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape)
    (8, 32)

    Reference:
        Misra et al., "Cross-stitch Networks for Multi-task Learning", CVPR 2016, arXiv:1604.03539. Stitches follow the
        activation, as there, and also the last layer, as in the baseline of AdaTT's authors. The paper's convolutional
        networks have a stitch for each channel; the scalar stitch, which its equation shows, is our default.
    """

    def __init__(
        self,
        units: Sequence[int] = (256, 128),
        *,
        granularity: Granularity = "scalar",
        self_weight: float = 0.9,
        inputs: TowerInputs = "own",
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(
            units,
            self_weight=self_weight,
            inputs=inputs,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            name=name,
            **kwargs,
        )
        check_option("granularity", granularity, Granularity)
        self.granularity = granularity

    def _add_stitch(self, name: str, units: int) -> Any:
        start = self._near_identity(len(self.tasks))
        if self.granularity == "channel":
            start = start[:, :, None].repeat(units, axis=-1)  # (T, T, U)
        return self._add_mixture(name, start)

    def _stitch(self, hidden: list[Tensor], weights: Any) -> list[Tensor]:
        if self.granularity == "scalar":
            return self._mix_parts(hidden, weights, 1)
        num = len(hidden)
        rows = [ops.unstack(row, num) for row in ops.unstack(ops.cast(weights, self.compute_dtype), num)]
        return [sum(a * h for a, h in zip(row, hidden, strict=True)) for row in rows]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "granularity": self.granularity}

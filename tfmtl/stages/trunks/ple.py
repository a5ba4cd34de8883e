"""Progressive layered extraction: a stack of CGC levels."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tfmtl.initializers import fresh
from tfmtl.keras_host import keras, register_freezable
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.typing import Streams


@register_freezable
class PLE(keras.layers.Layer):
    """Separates tasks progressively, level by level.

    ```
    streams_0 = input,   streams_j = CGC_j(streams_{j-1}),   j = 1 .. J;   the last level gives no shared stream
    ```

    From the second level on, gates and experts read what the level below mixed, not the raw input. Below the last level
    a task's loss reaches other tasks' experts through the shared gate; in the last level it does not.
    Where no level reads the shared stream (`num_shared_experts=0` with `gate_input="task"`), no level makes it.

    Args:
        units: one entry a level: the width of its experts, or the widths of their layers.
        **options: of every `CGCLayer`: `num_task_experts`, `num_shared_experts`, `gate_units`, `gate_input`,
            `gate_use_bias`, `cross_task`, `shared_stream_stop_specific`, `activation`, `dropout`, `kernel_initializer`;
            and of a Keras layer: `name` (default `"trunk"`), `dtype`.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`.

    Output shape:
        `{task: (B, units of the last level)}`.

    Raises:
        ValueError: no level, or what `CGCLayer` refuses.

    Example:

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
        name: str = "trunk",
        dtype: Any = None,
        **options: Any,
    ):
        kept = {key: options.pop(key) for key in ("trainable", "build_config") if key in options}
        super().__init__(name=name, dtype=dtype, **kept)
        self.units = tuple(units) if isinstance(units, Iterable) else ()
        if not self.units:
            raise ValueError(f"`units` needs one entry a level. Received: units={units}")
        self.kernel_initializer = keras.initializers.get(options.pop("kernel_initializer", "glorot_uniform"))
        self.levels = [
            CGCLayer(
                width,
                update_shared=False,
                kernel_initializer=fresh(self.kernel_initializer, level),
                name=f"level_{level}",
                dtype=self.dtype_policy,
                **options,
            )
            for level, width in enumerate(self.units)
        ]
        for level, above in pairwise(self.levels):
            level.update_shared = above.needs_shared  # or its shared gate would have weights that never learn

    @property
    def reads_own(self) -> bool:
        """Whether a task's output depends on experts that read the task's own stream."""
        return self.levels[0].reads_own

    @property
    def reads_shared(self) -> bool:
        """Whether experts read the shared stream."""
        return self.levels[0].reads_shared

    def build(self, input_shape: Mapping[str, Any]) -> None:
        shapes = input_shape
        for level in self.levels:
            level.build(shapes)
            shapes = level.compute_output_shape(shapes)
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        for level in self.levels:
            streams = level(streams, training=training)
        return streams

    def gates(self, streams: Streams) -> list[Streams]:
        """For each level the mixing weights `{stream: (B, E)}`."""
        weights = []
        for level in self.levels:
            weights.append(level.gates(streams))
            streams = level(streams)
        return weights

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        return self.levels[-1].compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        cell = self.levels[0].get_config()
        for key in ("name", "dtype", "trainable", "units", "update_shared"):
            cell.pop(key, None)
        return {
            **super().get_config(),
            **cell,
            "units": [list(level.units) for level in self.levels],
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

"""What trunks have in common that stack levels of experts and gates."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.typing import Mixture, Streams


class Levels(keras.layers.Layer):
    """A trunk of levels, each of which reads what the level below gives.

    ```
    streams_0 = input,   streams_j = level_j(streams_{j-1}),   j = 1 .. J
    ```

    Args:
        units: an entry a level.
        kernel_initializer: what the levels' own are drawn from.

    Raises:
        ValueError: no level.
    """

    levels: Sequence[CGCLayer]
    """The first one first."""

    def __init__(self, units: Sequence[int | Sequence[int]], *, kernel_initializer: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = tuple(units) if isinstance(units, Iterable) else ()
        if not self.units:
            raise ValueError(f"`units` needs one entry a level. Received: units={units}")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

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

    def mixtures(self, streams: Streams) -> list[Mixture]:
        """What experts and gates of each level make of it, to be looked at (`tfmtl.typing.MixesExperts`)."""
        found = []
        for level in self.levels:
            found += [each._replace(name=f"{self.name}/{each.name}") for each in level.mixtures(streams)]
            streams = level(streams)
        return found

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        return self.levels[-1].compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        level = self.levels[0].get_config()
        for own in ("name", "dtype", "trainable", "update_shared"):
            level.pop(own, None)
        return {
            **level,
            **super().get_config(),
            "units": [list(each.units) for each in self.levels],
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

"""A representation for each task, from tables of its own."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tfmtl.keras_host import register_layer
from tfmtl.layers.field_interactions import FieldInteractions
from tfmtl.layers.join_fields import join_fields
from tfmtl.layers.stem_embedding import STEMEmbedding
from tfmtl.stages.bottoms.representation import (
    Representation,
    embedding_config,
    interactions_config,
    interactions_of,
    total_width,
)
from tfmtl.stages.bottoms.side_streams import SideStreams
from tfmtl.typing import PRIOR, SHARED, Encoded, Streams, Tensor


@register_layer
class STEMRepresentation(Representation):
    """Gives every task a table of its own beside the shared one.

    Args:
        features: adapted features.
        tasks: names of the tasks.
        priors: names of the features whose embeddings steer a head, `PPNet`, as the side stream `"prior"`; those of the
            shared tables.
        scenario: name of the `Categorical` feature whose ids a head tells apart, `STARHead`, as the side stream `"scenario"`.
        interactions: Keras layers that each take a list of fields `(B, D_f)` and give `(B, N)`, as in
            `SharedBottomRepresentation`. Every stream has copies of them, called on its own embeddings and set beside these.
        embeddings_initializer, embeddings_regularizer: of the tables, as in `STEMEmbedding`.

    Input shape:
        The encoded dict, as `STEMEmbedding` reads it.

    Output shape:
        `{task: (B, D), ..., "shared": (B, D)}`, D the sum of the widths of fields and interactions; each stream reads its own
        tables. And the side streams.

    Raises:
        ValueError: what `STEMEmbedding` and `FieldInteractions` refuse, no task, or names that are no features of the kind.

    Reference:
        Su et al., "STEM", AAAI 2024, arXiv:2308.13537.
    """

    task_specific = True
    shared_specific = True

    def __init__(
        self,
        features: Iterable[Any],
        tasks: Iterable[str],
        *,
        priors: Iterable[str] = (),
        scenario: str | None = None,
        interactions: Iterable[Any] = (),
        embeddings_initializer: Any = None,
        embeddings_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(tasks, **kwargs)
        self.embed = STEMEmbedding(
            features,
            self.main_streams,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            dtype=self.dtype_policy,
            name="embed",
        )
        self.side = SideStreams(self.features, priors=priors, scenario=scenario)
        self.interactions = interactions_of(self.main_streams, interactions, self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        self.embed.build(input_shape)
        shapes = self.embed.compute_output_shape(input_shape)
        for stream, layer in self.interactions.items():
            layer.build([shapes[stream][name] for name in self.embedded])
        self.built = True

    def call(self, encoded: Encoded, training: bool | None = None) -> Streams:
        return self._made(self.streams, encoded, self.embed(encoded, training=training))

    def for_streams(self, streams: Iterable[str]) -> Callable[[Encoded], Streams]:
        """What gives some of the streams, with copies of their tables and no others'."""
        wanted = tuple(streams)
        main = [stream for stream in wanted if stream in self.main_streams]
        by_shared_tables = [SHARED] if PRIOR in wanted or not main else []
        embed = self.embed.for_streams(dict.fromkeys([*main, *by_shared_tables]))
        return lambda encoded: self._made(wanted, encoded, embed(encoded, training=False))

    def _made(self, wanted: Sequence[str], encoded: Encoded, embedded: dict[str, Encoded]) -> Streams:
        """The streams of `wanted`."""
        main = {stream: self._joined(stream, embedded[stream]) for stream in wanted if stream in self.main_streams}
        return {**main, **self.side.of(encoded, embedded.get(SHARED, {}), self.compute_dtype, wanted)}

    def _joined(self, stream: str, fields: Encoded) -> Tensor:
        """The fields of a stream side by side, and what its interactions make of them."""
        made = [layer([fields[name] for name in self.embedded]) for layer in self._interactions_of(stream)]
        return join_fields([*fields.values(), *made])

    def _interactions_of(self, stream: str) -> list[FieldInteractions]:
        return [self.interactions[stream]] if self.interactions else []

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        shapes = self.embed.compute_output_shape(input_shape)
        batch = next(iter(shapes[SHARED].values()))[0]
        joined = {
            stream: (
                batch,
                total_width(fields.values()) + sum(sum(layer.widths) for layer in self._interactions_of(stream)),
            )
            for stream, fields in shapes.items()
        }
        return {**joined, **self.side.shapes(shapes[SHARED])}

    def get_config(self) -> dict[str, Any]:
        layers = interactions_config(self.interactions.values())
        return {**super().get_config(), **embedding_config(self.embed), **layers}

"""A representation for each task, from tables of its own."""

from collections.abc import Callable, Iterable
from typing import Any

from tfmtl.keras_host import register_layer
from tfmtl.layers.join_fields import join_fields
from tfmtl.layers.stem_embedding import STEMEmbedding
from tfmtl.stages.bottoms.representation import Representation, embedding_config, total_width
from tfmtl.typing import Encoded, Streams


@register_layer
class STEMRepresentation(Representation):
    """Gives every task a table of its own beside the shared one.

    Args:
        features: adapted features.
        tasks: names of the tasks.
        embeddings_initializer, embeddings_regularizer: of the tables, as in `STEMEmbedding`.

    Input shape:
        The encoded dict, as `STEMEmbedding` reads it.

    Output shape:
        `{task: (B, D), ..., "shared": (B, D)}`, D the sum of the fields' widths; each stream reads its own tables.

    Raises:
        ValueError: what `STEMEmbedding` refuses, or no task.

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
        embeddings_initializer: Any = None,
        embeddings_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(tasks, **kwargs)
        self.embed = STEMEmbedding(
            features,
            self.streams,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            dtype=self.dtype_policy,
            name="embed",
        )

    def build(self, input_shape: Any) -> None:
        self.embed.build(input_shape)
        self.built = True

    def call(self, encoded: Encoded, training: bool | None = None) -> Streams:
        return _joined(self.embed(encoded, training=training))

    def for_streams(self, streams: Iterable[str]) -> Callable[[Encoded], Streams]:
        """What gives some of the streams, with copies of their tables and no others'."""
        embed = self.embed.for_streams(streams)
        return lambda encoded: _joined(embed(encoded, training=False))

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        return {
            stream: (next(iter(fields.values()))[0], total_width(fields.values()))
            for stream, fields in self.embed.compute_output_shape(input_shape).items()
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **embedding_config(self.embed)}


def _joined(embedded: dict[str, Encoded]) -> Streams:
    return {stream: join_fields(fields.values()) for stream, fields in embedded.items()}

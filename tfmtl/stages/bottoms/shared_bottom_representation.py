"""One representation for all tasks."""

from collections.abc import Iterable
from typing import Any

from tfmtl.keras_host import register_layer
from tfmtl.layers.feature_embedding import FeatureEmbedding
from tfmtl.layers.join_fields import join_fields
from tfmtl.stages.bottoms.representation import Representation, embedding_config, total_width
from tfmtl.typing import Encoded, Streams


@register_layer
class SharedBottomRepresentation(Representation):
    """Gives every stream the same tensor: all fields side by side.

    Args:
        features: adapted features.
        tasks: names of the tasks.
        embeddings_initializer, embeddings_regularizer: of the tables, as in `FeatureEmbedding`.

    Input shape:
        The encoded dict, as `FeatureEmbedding` reads it.

    Output shape:
        `{task: (B, D), ..., "shared": (B, D)}`, D the sum of the fields' widths.

    Raises:
        ValueError: what `FeatureEmbedding` refuses, or no task.
    """

    def __init__(
        self,
        features: Iterable[Any],
        tasks: Iterable[str],
        *,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(tasks, **kwargs)
        self.embed = FeatureEmbedding(
            features,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            dtype=self.dtype_policy,
            name="embed",
        )

    def build(self, input_shape: Any) -> None:
        self.embed.build(input_shape)
        self.built = True

    def call(self, encoded: Encoded, training: bool | None = None) -> Streams:
        x = self.embed.joined(encoded) if training else join_fields(self.embed(encoded, training=False).values())
        return dict.fromkeys(self.streams, x)

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        shapes = self.embed.compute_output_shape(input_shape).values()
        batch = next(iter(shapes))[0]
        return dict.fromkeys(self.streams, (batch, total_width(shapes)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **embedding_config(self.embed)}

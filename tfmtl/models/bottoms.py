"""From encoded columns to streams."""

from collections.abc import Iterable
from typing import Any

from tfmtl.keras_host import keras, ops, register
from tfmtl.layers.bottom.feature_embedding import FeatureEmbedding
from tfmtl.layers.bottom.stem_embedding import STEMEmbedding
from tfmtl.spec.names import check_distinct
from tfmtl.typing import SHARED, Encoded, Streams, Tensor


class Representation(keras.layers.Layer):
    """A bottom: reads the encoded dict, gives a stream to every task and the shared one.

    Args:
        embed: the layer that embeds the features; its config is part of this layer's.
        tasks: names of the tasks.
    """

    task_specific = False
    """Whether streams differ from task to task."""

    def __init__(self, tasks: Iterable[str], *, name: str = "bottom", **kwargs: Any):
        # The embedding layers cast; ids and NaN must reach them as they are.
        super().__init__(autocast=False, name=name, **kwargs)
        self.tasks = tuple(tasks)
        check_distinct("task", self.tasks)
        if not self.tasks:
            raise ValueError("`tasks` needs one name or more. Received: tasks=()")

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams that come out."""
        return (*self.tasks, SHARED)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("autocast", None)
        return {**config, "tasks": list(self.tasks)}


@register
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

    def call(self, encoded: Encoded) -> Streams:
        x = side_by_side(self.embed(encoded))
        return dict.fromkeys(self.streams, x)

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        shapes = self.embed.compute_output_shape(input_shape).values()
        batch = next(iter(shapes))[0]
        return dict.fromkeys(self.streams, (batch, sum(shape[-1] for shape in shapes)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **embedding_config(self.embed)}


@register
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

    def call(self, encoded: Encoded) -> Streams:
        return {stream: side_by_side(fields) for stream, fields in self.embed(encoded).items()}

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        return {
            stream: (next(iter(fields.values()))[0], sum(shape[-1] for shape in fields.values()))
            for stream, fields in self.embed.compute_output_shape(input_shape).items()
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **embedding_config(self.embed)}


def side_by_side(fields: Encoded) -> Tensor:
    """All fields `(B, D_f)` as one `(B, sum D_f)`."""
    parts = list(fields.values())
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def embedding_config(embed: keras.layers.Layer) -> dict[str, Any]:
    """The part of a bottom's config that describes its embedding layer."""
    config = embed.get_config()
    return {key: config[key] for key in ("features", "embeddings_initializer", "embeddings_regularizer")}

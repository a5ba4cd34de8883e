"""One embedding table for each task, and one that they share."""

from collections.abc import Iterable
from typing import Any

from tfmtl.checks import check_names
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.field_embedding import FieldEmbedding
from tfmtl.layers.fused_tables import take_chunks
from tfmtl.schema import Categorical, Numeric, Sequence
from tfmtl.typing import Encoded, Tensor


@register_layer
class STEMEmbedding(FieldEmbedding):
    """Embeds every feature once for each stream.

    ```
    [y_1, ..., y_S] = split(E[id])        E: (rows, S * D), one lookup; chunk s is the table of stream s
    ```

    Equal to `S` separate tables, read in one gather. A numeric feature with `dim` has a linear map for each stream; one
    without `dim` is the same for all.

    Args:
        features: adapted features.
        streams: names of the streams, usually `[*tasks, "shared"]`.
        embeddings_initializer: of the tables; the authors draw from N(0, 1e-4).
        embeddings_regularizer: of the tables, as a whole at every step; the authors' is `keras.regularizers.L2(5e-7)`.

    Input shape:
        The encoded dict, as `FeatureEmbedding` reads it.

    Output shape:
        `{stream: {field: (B, D)}}`; sequences are pooled.

    Raises:
        ValueError: no stream or one given twice, or what `FeatureEmbedding` refuses.

    Example:

    >>> import numpy as np
    >>> from tfmtl.layers import STEMEmbedding
    >>> from tfmtl.schema import Categorical
    >>> embed = STEMEmbedding([Categorical("city", num_ids=100, dim=8)], ["click", "buy", "shared"])
    >>> tuple(embed({"city": np.array([3, 0], "int32")})["buy"]["city"].shape)
    (2, 8)

    Reference:
        Su et al., "STEM: Unleashing the Power of Embeddings for Multi-task Recommendation", AAAI 2024, arXiv:2308.13537,
        and its code, whose padding row is zero at the start; here row 0 is the row of everything unknown and trained.
    """

    def __init__(
        self,
        features: Iterable[Any],
        streams: Iterable[str],
        *,
        embeddings_initializer: Any = None,
        embeddings_regularizer: Any = None,
        **kwargs: Any,
    ):
        names = check_names("streams", streams)
        super().__init__(
            features,
            copies=len(names),
            embeddings_initializer=embeddings_initializer or keras.initializers.RandomNormal(stddev=1e-4),
            embeddings_regularizer=embeddings_regularizer,
            **kwargs,
        )
        self.streams = names

    def call(self, encoded: Encoded, training: bool | None = None) -> dict[str, Encoded]:
        looked_up = self.tables(encoded, training=training)
        fields: dict[str, Encoded] = {stream: {} for stream in self.streams}
        for feature in self.features:
            if isinstance(feature, Categorical):
                self._share_out(fields, feature.name, looked_up[feature.name])
            elif not isinstance(feature, Numeric):
                for column, pooled in self._pooled(feature, looked_up, encoded, training).items():
                    self._share_out(fields, column, pooled)
            elif feature.dim:
                self._share_out(fields, feature.name, self._numbers(feature, encoded))
            else:
                numbers = self._numbers(feature, encoded)
                for stream in self.streams:
                    fields[stream][feature.name] = numbers
        return fields

    def _share_out(self, fields: dict[str, Encoded], name: str, wide: Tensor) -> None:
        for stream, part in zip(self.streams, ops.split(wide, len(self.streams), axis=-1), strict=True):
            fields[stream][name] = part

    def for_streams(self, streams: Iterable[str]) -> "STEMEmbedding":
        """A layer, built, that gives some of the streams: with copies of their tables and maps, and no others'."""
        layer = STEMEmbedding(
            self.features, streams, embeddings_initializer="zeros", dtype=self.dtype_policy, name=self.name
        )
        layer.build(None)
        chosen = [self.streams.index(stream) for stream in layer.streams]
        layer.tables.take_copies(self.tables, chosen)
        for name, projection in layer.projections.items():
            for weight, source in zip(projection.weights, self.projections[name].weights, strict=True):
                weight.assign(take_chunks(source, len(self.streams), chosen))
        for feature in (f for f in self.features if isinstance(f, Sequence)):
            for unit, place in zip(layer.units(feature), chosen, strict=False):  # none where events are not scored
                unit.set_weights(self.units(feature)[place].get_weights())
        return layer

    def compute_output_shape(self, input_shape: Any) -> dict[str, dict[str, tuple[int | None, ...]]]:
        shapes = self._field_shapes(input_shape, pooled=True)
        return {stream: dict(shapes) for stream in self.streams}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "streams": list(self.streams)}

"""One embedding table for each task, and one that they share."""

from collections.abc import Iterable
from typing import Any

from tfmtl.checks import check_names
from tfmtl.keras_host import keras, ops, register_freezable
from tfmtl.layers.encoded_columns import check_columns, values_and_flags
from tfmtl.layers.fused_tables import FusedTables
from tfmtl.layers.pooling import pool_events
from tfmtl.schema import Categorical, Numeric
from tfmtl.schema.features import feature_from_dict, feature_to_dict
from tfmtl.schema.schema import check_features
from tfmtl.typing import Encoded, Tensor


@register_freezable
class STEMEmbedding(keras.layers.Layer):
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
        super().__init__(autocast=False, **kwargs)
        self.features = tuple(feature_from_dict(feature).encoded() for feature in features)
        check_features(self.features)
        self.streams = check_names("streams", streams)
        default = keras.initializers.RandomNormal(stddev=1e-4)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer or default)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self.tables = FusedTables(
            self.features,
            copies=len(self.streams),
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            dtype=self.dtype_policy,
            name="tables",
        )
        self.projections = {
            f.name: keras.layers.Dense(len(self.streams) * f.dim, dtype=self.dtype_policy, name=f"{f.name}_projection")
            for f in self.features
            if isinstance(f, Numeric) and f.dim
        }

    def build(self, input_shape: Any) -> None:
        self.tables.build(input_shape)
        for feature in self.features:
            if isinstance(feature, Numeric) and feature.dim:
                self.projections[feature.name].build((None, feature.width))
        self.built = True

    def call(self, encoded: Encoded) -> dict[str, Encoded]:
        looked_up = self.tables(encoded)
        fields: dict[str, Encoded] = {stream: {} for stream in self.streams}
        for feature in self.features:
            if isinstance(feature, Categorical):
                self._share_out(fields, feature.name, looked_up[feature.name])
            elif isinstance(feature, Numeric):
                check_columns([feature.name], encoded)
                self._numbers(fields, feature, encoded[feature.name])
            else:
                check_columns([feature.mask], encoded)
                for column in feature.columns:
                    pooled = pool_events(looked_up[column], encoded[feature.mask], feature.pooling)
                    self._share_out(fields, column, pooled)
        return fields

    def _share_out(self, fields: dict[str, Encoded], name: str, wide: Tensor) -> None:
        for stream, part in zip(self.streams, ops.split(wide, len(self.streams), axis=-1), strict=True):
            fields[stream][name] = part

    def _numbers(self, fields: dict[str, Encoded], feature: Numeric, x: Tensor) -> None:
        values = values_and_flags(feature, x, self.compute_dtype)
        if feature.dim:
            self._share_out(fields, feature.name, self.projections[feature.name](values))
        else:
            for stream in self.streams:
                fields[stream][feature.name] = values

    def compute_output_shape(self, input_shape: Any) -> dict[str, dict[str, tuple[int | None, ...]]]:
        batch = next(iter(input_shape.values()))[0]
        shapes: dict[str, tuple[int | None, ...]] = {}
        for feature in self.features:
            if isinstance(feature, Categorical):
                shapes[feature.name] = (batch, feature.dim)
            elif isinstance(feature, Numeric):
                shapes[feature.name] = (batch, feature.dim or feature.width)
            else:
                shapes.update({feature.column(field): (batch, field.dim) for field in feature.fields})
        return {stream: dict(shapes) for stream in self.streams}

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("autocast", None)
        regularizer = self.embeddings_regularizer
        return {
            **config,
            "features": [feature_to_dict(feature) for feature in self.features],
            "streams": list(self.streams),
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": keras.regularizers.serialize(regularizer) if regularizer else None,
        }

"""From encoded columns to one vector a field."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from tfmtl.keras_host import keras, ops, register_freezable
from tfmtl.layers.encoded_columns import check_columns, values_and_flags
from tfmtl.layers.fused_tables import FusedTables, cut
from tfmtl.layers.pooling import pool_events
from tfmtl.layers.side_by_side import side_by_side
from tfmtl.schema import Categorical, Feature, Numeric, Sequence
from tfmtl.schema.features import feature_from_dict, feature_to_dict
from tfmtl.schema.schema import check_features
from tfmtl.typing import Encoded, Tensor


@register_freezable
class FeatureEmbedding(keras.layers.Layer):
    """Embeds every feature of a row.

    ```
    categorical, bucketed:  y = E[id]                                 row 0: missing or unknown
    numeric:                y = [x, is_missing]  or  [x, is_missing] W + b  with `dim`;  a missing x counts as 0;
                            without is_missing where `flag_missing` is False
    sequence:               y = pool(E[id_1], ..., E[id_n])           over the events of the mask, for each of its fields
    ```

    Tables of one width are one weight and one gather (`FusedTables`).

    Args:
        features: adapted features.
        pool_sequences: False returns a sequence's events unpooled, its fields side by side.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, as a whole at every step.

    Input shape:
        The encoded dict: `{column: (B,)}` int32, `{name: (B,) or (B, size)}` float32, `{column: (B, L)}` int32 with
        `{name}_mask` `(B, L)`, 1 or true for events.

    Output shape:
        `{field: (B, D)}`: a categorical's, a numeric's or a sequence column's name; with `pool_sequences=False`
        `{sequence: (B, L, D)}` instead of one entry a column.

    Raises:
        ValueError: features that were never adapted, names or tables that do not fit, or an input that lacks a column.

    Example:

    >>> embed = FeatureEmbedding([Categorical("city", num_ids=100, dim=8), Numeric("age", transform=None)])
    >>> fields = embed({"city": np.array([3, 0], "int32"), "age": np.array([31.0, np.nan], "float32")})
    >>> {name: tuple(field.shape) for name, field in fields.items()}
    {'city': (2, 8), 'age': (2, 2)}
    """

    def __init__(
        self,
        features: Iterable[Any],
        *,
        pool_sequences: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        **kwargs: Any,
    ):
        # Ids and NaN must reach `call` as they are; values are cast after the lookup.
        super().__init__(autocast=False, **kwargs)
        self.features = tuple(feature_from_dict(feature).encoded() for feature in features)
        check_features(self.features)
        self.pool_sequences = pool_sequences
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self.tables = FusedTables(
            self.features,
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            dtype=self.dtype_policy,
            name="tables",
        )
        self.projections = {
            f.name: keras.layers.Dense(f.dim, dtype=self.dtype_policy, name=f"{f.name}_projection")
            for f in self.features
            if isinstance(f, Numeric) and f.dim
        }

    def build(self, input_shape: Any) -> None:
        self.tables.build(input_shape)
        for feature in self.features:
            if isinstance(feature, Numeric) and feature.dim:
                self.projections[feature.name].build((None, feature.width))
        self.built = True

    def call(self, encoded: Encoded) -> Encoded:
        looked_up = self.tables(encoded)
        fields: Encoded = {}
        for feature in self.features:
            if isinstance(feature, Categorical):
                fields[feature.name] = looked_up[feature.name]
            elif isinstance(feature, Numeric):
                fields[feature.name] = self._numbers(feature, encoded)
            else:
                fields.update(self._events(feature, looked_up, encoded))
        return fields

    def joined(self, encoded: Encoded) -> Tensor:
        """All fields side by side, `(B, sum D)`: what `call` gives, once the layer is built, with sequences pooled.

        Neighbours of one width are taken from the lookup as they lie there.
        """
        if any(isinstance(feature, Sequence) for feature in self.features):
            return side_by_side(self(encoded).values())
        runs = [(dim, list(run)) for dim, run in groupby(self.features, _table_width)]
        blocks = self.tables.blocks(encoded)
        found = {dim: iter(cut(block, [len(run) for d, run in runs if d == dim])) for dim, block in blocks.items()}
        parts: list[Tensor] = []
        for dim, run in runs:
            if dim:
                parts.append(ops.reshape(next(found[dim]), (-1, len(run) * dim)))
            else:
                parts += [self._numbers(feature, encoded) for feature in run if isinstance(feature, Numeric)]
        return side_by_side(parts)

    def _numbers(self, feature: Numeric, encoded: Encoded) -> Tensor:
        check_columns([feature.name], encoded)
        values = values_and_flags(feature, encoded[feature.name], self.compute_dtype)
        return self.projections[feature.name](values) if feature.dim else values

    def _events(self, feature: Sequence, looked_up: Encoded, encoded: Encoded) -> Encoded:
        events = {column: looked_up[column] for column in feature.columns}  # (B, L, D)
        if not self.pool_sequences:
            return {feature.name: ops.concatenate(list(events.values()), axis=-1)}
        check_columns([feature.mask], encoded)
        return {column: pool_events(e, encoded[feature.mask], feature.pooling) for column, e in events.items()}

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        batch = next(iter(input_shape.values()))[0]
        shapes: dict[str, tuple[int | None, ...]] = {}
        for feature in self.features:
            if isinstance(feature, Categorical):
                shapes[feature.name] = (batch, feature.dim)
            elif isinstance(feature, Numeric):
                shapes[feature.name] = (batch, feature.dim or feature.width)
            elif self.pool_sequences:
                shapes.update({feature.column(field): (batch, field.dim) for field in feature.fields})
            else:
                events = input_shape[feature.columns[0]][1]
                shapes[feature.name] = (batch, events, sum(field.dim for field in feature.fields))
        return shapes

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("autocast", None)
        regularizer = self.embeddings_regularizer
        return {
            **config,
            "features": [feature_to_dict(feature) for feature in self.features],
            "pool_sequences": self.pool_sequences,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": keras.regularizers.serialize(regularizer) if regularizer else None,
        }


def _table_width(feature: Feature) -> int:
    """0 for what is not looked up."""
    return feature.dim if isinstance(feature, Categorical) else 0

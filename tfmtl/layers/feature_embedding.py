"""From encoded columns to one vector a field."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from tfmtl.keras_host import ops, register_layer
from tfmtl.layers.field_embedding import FieldEmbedding
from tfmtl.layers.fused_tables import cut, weight_of
from tfmtl.layers.join_fields import join_fields
from tfmtl.schema import Categorical, Feature, Numeric, Sequence
from tfmtl.typing import Encoded, Tensor


@register_layer
class FeatureEmbedding(FieldEmbedding):
    """Embeds every feature of a row.

    ```
    categorical, bucketed:  y = E[id]                                 row 0: missing or unknown
    numeric:                y = [x, is_missing]  or  [x, is_missing] W + b  with `dim`;  a missing x counts as 0;
                            without is_missing where `flag_missing` is False
    sequence:               y = pool(E[id_1], ..., E[id_n])           over the events of the mask, for each of its fields;
                            pooling="attention": y = sum_l a_l E[id_l], a_l by `ActivationUnit` from all its fields
    ```

    Tables of one width are one weight, read in one gather by a training step (`FusedTables`).

    Args:
        features: adapted features.
        pool_sequences: False returns a sequence's events unpooled, its fields side by side; their `weights`, if they have
            some, are for what pools them.
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

    >>> import numpy as np
    >>> from tfmtl.layers import FeatureEmbedding
    >>> from tfmtl.schema import Categorical, Numeric
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
        super().__init__(
            features,
            copies=1,
            pools=pool_sequences,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            **kwargs,
        )
        self.pool_sequences = pool_sequences

    def call(self, encoded: Encoded, training: bool | None = None) -> Encoded:
        looked_up = self.tables(encoded, training=training)
        fields: Encoded = {}
        for feature in self.features:
            if isinstance(feature, Categorical):
                fields[feature.name] = looked_up[feature.name]
            elif isinstance(feature, Numeric):
                fields[feature.name] = self._numbers(feature, encoded)
            elif self.pool_sequences:
                fields.update(self._pooled(feature, looked_up, encoded, training))
            else:
                fields[feature.name] = join_fields(looked_up[column] for column in feature.id_columns)  # (B, L, D)
        return fields

    def joined(self, encoded: Encoded) -> Tensor:
        """All fields in one tensor `(B, sum D)`, in training: what `call` gives, histories pooled, once the layer is built.

        Neighbours of one width are taken from the lookup as they lie there.
        """
        if any(isinstance(feature, Sequence) for feature in self.features):
            return join_fields(self(encoded, training=True).values())
        runs = [(key, list(run)) for key, run in groupby(self.features, _looked_up_in)]
        blocks = self.tables.blocks(encoded)
        found = {key: iter(cut(block, [len(run) for k, run in runs if k == key])) for key, block in blocks.items()}
        parts: list[Tensor] = []
        for key, run in runs:
            if key:
                parts.append(ops.reshape(next(found[key]), (-1, len(run) * self.tables.groups[key].dim)))
            else:
                parts += [self._numbers(feature, encoded) for feature in run if isinstance(feature, Numeric)]
        return join_fields(parts)

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        return self._field_shapes(input_shape, pooled=self.pool_sequences)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_sequences": self.pool_sequences}


def _looked_up_in(feature: Feature) -> str:
    """The weight that a feature is looked up in; empty for a number."""
    return weight_of(feature) if isinstance(feature, Categorical) else ""

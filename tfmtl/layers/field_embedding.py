"""What layers that embed all fields of a row have in common."""

from collections.abc import Iterable
from typing import Any

from tfmtl.keras_host import keras, ops
from tfmtl.layers.activation_unit import ActivationUnit
from tfmtl.layers.encoded_columns import check_columns, values_and_flags
from tfmtl.layers.fused_tables import FusedTables
from tfmtl.layers.join_fields import join_fields
from tfmtl.layers.pooling import pool_events
from tfmtl.schema import Categorical, Numeric, Sequence
from tfmtl.schema.features import feature_from_dict, feature_to_dict
from tfmtl.schema.schema import check_features
from tfmtl.typing import Encoded, Tensor


class FieldEmbedding(keras.layers.Layer):
    """Base of the layers that embed every field: tables for what is looked up, maps for numbers with `dim`.

    Args:
        features: adapted features.
        copies: vectors a field, side by side.
        pools: whether histories are pooled, and not handed on event by event.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, as a whole at every step.
    """

    def __init__(
        self,
        features: Iterable[Any],
        *,
        copies: int,
        pools: bool = True,
        embeddings_initializer: Any,
        embeddings_regularizer: Any,
        **kwargs: Any,
    ):
        # Ids and NaN must reach `call` as they are; values are cast after the lookup.
        super().__init__(autocast=False, **kwargs)
        self.features = tuple(feature_from_dict(feature).encoded() for feature in features)
        check_features(self.features)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self.tables = FusedTables(
            self.features,
            copies=copies,
            initializer=self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            dtype=self.dtype_policy,
            name="tables",
        )
        self.projections = {
            f.name: keras.layers.Dense(copies * f.dim, dtype=self.dtype_policy, name=f"{f.name}_projection")
            for f in self.features
            if isinstance(f, Numeric) and f.dim
        }
        self.copies = copies
        attending = [f for f in self.features if pools and isinstance(f, Sequence) and f.pooling == "attention"]
        # A flat dict: tf_keras saves no layers that lie in containers of containers.
        self.attention = {f"{f.name}_{copy}": self._unit(f, copy) for f in attending for copy in range(copies)}

    def units(self, feature: Sequence) -> list[ActivationUnit]:
        """What scores the events of a history by each of its copies; nothing where they are not scored."""
        names = [f"{feature.name}_{copy}" for copy in range(self.copies)]
        return [self.attention[name] for name in names if name in self.attention]

    def _unit(self, feature: Sequence, copy: int) -> ActivationUnit:
        """What scores the events of a history by one of its copies."""
        return ActivationUnit(
            feature.attention_units,
            activation=feature.attention_activation,
            softmax=feature.attention_softmax,
            dtype=self.dtype_policy,
            name=f"{feature.name}_attention_{copy}",
        )

    def build(self, input_shape: Any) -> None:
        self.tables.build(input_shape)
        for feature in self.features:
            if isinstance(feature, Numeric) and feature.dim:
                self.projections[feature.name].build((None, feature.width))
            elif isinstance(feature, Sequence):
                width = sum(field.dim for field in feature.fields)
                for unit in self.units(feature):
                    unit.build([(None, feature.length, width), (None, feature.length), (None, width)])
        self.built = True

    def _numbers(self, feature: Numeric, encoded: Encoded) -> Tensor:
        """`(B, copies * dim)`, or without a `dim` the numbers themselves."""
        check_columns([feature.name], encoded)
        values = values_and_flags(feature, encoded[feature.name], self.compute_dtype)
        return self.projections[feature.name](values) if feature.dim else values

    def _pooled(self, feature: Sequence, looked_up: Encoded, encoded: Encoded, training: bool | None) -> Encoded:
        """One `(B, copies * dim)` for each field of a history."""
        check_columns([feature.mask, *feature.columns[len(feature.fields) :]], encoded)
        mask = encoded[feature.mask]
        if feature.pooling == "attention":
            return self._attended(feature, looked_up, encoded, training)
        weights = None if feature.weights is None else encoded[feature.weights]
        return {column: pool_events(looked_up[column], mask, feature.pooling, weights) for column in feature.id_columns}

    def _attended(self, feature: Sequence, looked_up: Encoded, encoded: Encoded, training: bool | None) -> Encoded:
        """The sum of the events, each times its score: of all its fields together, for each of the copies."""
        columns, mask = feature.id_columns, encoded[feature.mask]
        apart = {name: ops.split(looked_up[name], self.copies, axis=-1) for name in (*columns, *feature.target)}
        pooled: dict[str, list[Tensor]] = {column: [] for column in columns}
        for copy, unit in enumerate(self.units(feature)):
            events = join_fields(apart[column][copy] for column in columns)  # (B, L, D)
            target = join_fields(apart[name][copy] for name in feature.target)
            scores = unit([events, mask, target], training=training)
            if feature.weights is not None:
                scores = scores * encoded[feature.weights]
            scores = ops.cast(scores, events.dtype)[:, None]  # (B, 1, L)
            for column in columns:
                pooled[column].append(ops.matmul(scores, apart[column][copy])[:, 0])
        return {column: join_fields(parts) for column, parts in pooled.items()}

    def _field_shapes(self, input_shape: Any, *, pooled: bool) -> dict[str, tuple[int | None, ...]]:
        """Of one copy of every field."""
        batch = next(iter(input_shape.values()))[0]
        shapes: dict[str, tuple[int | None, ...]] = {}
        for feature in self.features:
            if isinstance(feature, Categorical):
                shapes[feature.name] = (batch, feature.dim)
            elif isinstance(feature, Numeric):
                shapes[feature.name] = (batch, feature.dim or feature.width)
            elif pooled:
                shapes.update({feature.column(field): (batch, field.dim) for field in feature.fields})
            else:
                events = input_shape[feature.id_columns[0]][1]
                shapes[feature.name] = (batch, events, sum(field.dim for field in feature.fields))
        return shapes

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("autocast", None)
        regularizer = self.embeddings_regularizer
        return {
            **config,
            "features": [feature_to_dict(feature) for feature in self.features],
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": keras.regularizers.serialize(regularizer) if regularizer else None,
        }

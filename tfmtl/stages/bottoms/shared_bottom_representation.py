"""One representation for all tasks."""

from collections.abc import Iterable
from typing import Any

from tfmtl.keras_host import register_layer
from tfmtl.layers.epnet import EPNet
from tfmtl.layers.feature_embedding import FeatureEmbedding
from tfmtl.layers.field_interactions import FieldInteractions
from tfmtl.layers.join_fields import join_fields
from tfmtl.stages.bottoms.representation import (
    Representation,
    embedding_config,
    interactions_config,
    total_width,
)
from tfmtl.stages.bottoms.side_streams import SideStreams, check_fields
from tfmtl.typing import Encoded, Streams


@register_layer
class SharedBottomRepresentation(Representation):
    """Gives every stream the same tensor: all fields side by side.

    ```
    x = [E_f for f in features]                     with `domain`: x = EPNet([E_f for f in domain], x)
                                                    with `interactions`: x = [x, FieldInteractions([E_f for f embedded])]
    streams = {task: x, ..., "shared": x}           with `priors`, `scenario`: and side streams for the head
    ```

    Args:
        features: adapted features.
        tasks: names of the tasks.
        domain: names of the features that tell domains apart, none of them a history: all fields are scaled by a gate that
            reads these (`EPNet`). None by default, and then there is no gate.
        domain_units: width of that gate's hidden layer; None takes that of all fields.
        interactions: Keras layers that each take a list of fields `(B, D_f)` and give `(B, N)`, set beside the fields: the
            `DotInteraction` of keras-rs or TFRS, their crosses in `tfmtl.layers.Crosses`, any of your own. They are called on
            what is embedded (ids, bins, pooled histories, numbers with `dim`), before the gate.
        priors: names of the features whose embeddings steer a head, `PPNet`, as the side stream `"prior"`, before the gate.
        scenario: name of the `Categorical` feature whose ids a head tells apart, `STARHead`, as the side stream `"scenario"`.
        embeddings_initializer, embeddings_regularizer: of the tables, as in `FeatureEmbedding`.

    Input shape:
        The encoded dict, as `FeatureEmbedding` reads it.

    Output shape:
        `{task: (B, D), ..., "shared": (B, D)}`, D the sum of the widths of fields and interactions, and the side streams.

    Raises:
        ValueError: what `FeatureEmbedding` and `FieldInteractions` refuse, no task, or names that are no features of the kind.
    """

    def __init__(
        self,
        features: Iterable[Any],
        tasks: Iterable[str],
        *,
        domain: Iterable[str] = (),
        domain_units: int | None = None,
        interactions: Iterable[Any] = (),
        priors: Iterable[str] = (),
        scenario: str | None = None,
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
        self.domain = check_fields("domain", domain, {feature.name: feature for feature in self.features})
        self.domain_units = domain_units
        self.epnet = EPNet(hidden_units=domain_units, dtype=self.dtype_policy, name="epnet") if self.domain else None
        self.side = SideStreams(self.features, priors=priors, scenario=scenario)
        given = tuple(interactions)
        self.interactions = FieldInteractions(given, dtype=self.dtype_policy, name="interactions") if given else None

    def build(self, input_shape: Any) -> None:
        self.embed.build(input_shape)
        shapes = self.embed.compute_output_shape(input_shape)
        if self.interactions is not None:
            self.interactions.build([shapes[name] for name in self.embedded])
        if self.epnet is not None:
            widths = [total_width(shapes[name] for name in self.domain), total_width(shapes.values())]
            self.epnet.build([(None, width) for width in widths])
        self.built = True

    def call(self, encoded: Encoded, training: bool | None = None) -> Streams:
        fields: Encoded = {}
        if training and not self.domain and not self.side.priors and self.interactions is None:
            x = self.embed.joined(encoded)
        else:
            fields = self.embed(encoded, training=training)
            x = join_fields(fields.values())
        if self.epnet is not None:
            x = self.epnet([join_fields(fields[name] for name in self.domain), x])
        if self.interactions is not None:
            x = join_fields([x, self.interactions([fields[name] for name in self.embedded])])
        return {**dict.fromkeys(self.main_streams, x), **self.side.of(encoded, fields, self.compute_dtype)}

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        shapes = self.embed.compute_output_shape(input_shape)
        batch = next(iter(shapes.values()))[0]
        width = total_width(shapes.values()) + (sum(self.interactions.widths) if self.interactions is not None else 0)
        return {**dict.fromkeys(self.main_streams, (batch, width)), **self.side.shapes(shapes)}

    def get_config(self) -> dict[str, Any]:
        own = {"domain": list(self.domain), "domain_units": self.domain_units}
        layers = interactions_config([] if self.interactions is None else [self.interactions])
        return {**super().get_config(), **embedding_config(self.embed), **own, **layers}

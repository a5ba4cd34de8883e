"""A representation for each task, from interests and importances of its own."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_count, check_option, check_units
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.conditional_transformer import NormPosition
from tfmtl.layers.encoded_columns import check_columns
from tfmtl.layers.feature_embedding import FeatureEmbedding
from tfmtl.layers.hyper_sequence_extractor import HyperSequenceExtractor, Pooling
from tfmtl.layers.join_fields import join_fields
from tfmtl.layers.norm_hypernetwork import Condition
from tfmtl.layers.task_senet import Excitation, Granularity, Squeeze, TaskSENet
from tfmtl.schema import Categorical, Feature
from tfmtl.schema import Sequence as History
from tfmtl.stages.bottoms.representation import (
    Representation,
    embedding_config,
    interactions_config,
    interactions_of,
    total_width,
)
from tfmtl.stages.bottoms.side_streams import SideStreams
from tfmtl.typing import SHARED, Encoded, Streams, Tensor

SharedInput: TypeAlias = Literal["mean", "fixed"]


@register_layer
class DTRNRepresentation(Representation):
    """Gives every task its own reading of the behaviour histories and its own importance of every field.

    ```
    X   = [fields of user, item and context]                               (B, M0, dim), one table for all tasks
    r_t = HyperSequenceExtractor(histories, target)_t                      (B, S, dim)
    Z_t = TaskSENet([X ; r_t])_t                                           (B, M0 + S, dim)
    stream_t = flatten(Z_t)
    stream_shared = flatten(mean_t Z_t)      or, "fixed", flatten([X ; mean_t r_t])
    ```

    With `interactions`, `I_t = FieldInteractions_t(rows of Z_t)` stands beside them: `[stream_t ; I_t]` and
    `[stream_shared ; mean_t I_t]`.

    Fields, histories and target that are not `dim` wide are projected to it.

    Args:
        features: adapted features; every `Sequence` is a behaviour, whose `weights` count in the pooling of its events.
        tasks: names of the tasks.
        target: the feature, or features, that describe the item to score, which the histories are searched for; None
            pools them by their mean.
        dim: width of a field; None takes that of the first categorical feature.
        shared_input: what the shared stream is: `"mean"` over the tasks, or `"fixed"`, fields as they are.
        priors: names of the features whose embeddings steer a head, `PPNet`, as the side stream `"prior"`.
        scenario: name of the `Categorical` feature whose ids a head tells apart, `STARHead`, as the side stream `"scenario"`.
        interactions: Keras layers that each take a list of fields `(B, dim)` and give `(B, N)`, as in
            `SharedBottomRepresentation`. Every task has copies of them, called on the fields and interests as it weighs them.
        num_blocks: blocks of the transformer that reads the histories.
        num_heads: heads of its attention; must divide `dim`.
        ffn_units: hidden units of its feed-forward part; None is `4 dim`.
        norm_position: of its layer normalisations, `"post"` or `"pre"`.
        attention_bias: whether its attention's queries, values and output have a bias.
        pooling: of the events of a history, `"target"`, `"mean"` or `"last"`; None searches for the target where there
            is one, and takes the mean elsewhere.
        condition_dim: width of the hypernetwork's task and behaviour embeddings.
        hyper_units: hidden layers of the hypernetwork.
        condition_on: what the hypernetwork reads: `"task+behavior"`, `"task"`, `"behavior"` or `"none"`, one plain
            transformer for all tasks.
        share_transformer_across_behaviors: False gives each behaviour a transformer of its own.
        refine: False leaves `TaskSENet` out (the paper's ablation without TRM), and what follows is not read.
        reduction: fields per hidden unit of `TaskSENet`.
        squeeze: what it reads of a field: `"none"`, all of it, or `"mean"`.
        granularity: of its importances: `"field"`, or `"element"`, one for each of a field's entries.
        excitation: activation of the importances, `"sigmoid"` or `"2*sigmoid"`.
        share_senet_across_tasks: one `TaskSENet` for all tasks, an ablation.
        embeddings_initializer: of the tables.
        embeddings_regularizer: of the tables, at every step as a whole.
        name: of the layer.

    Input shape:
        The encoded dict, as `FeatureEmbedding` reads it.

    Output shape:
        `{task: (B, (M0 + S) dim), ..., "shared": the same}`, wider by what interactions make, and the side streams.

    Raises:
        ValueError: a target that is no feature or is itself a history, or that `pooling="target"` lacks, an unknown
            option, histories with weights under `pooling="last"`, no width to take, a column that is missing, or what the
            parts refuse.

    Example:

    >>> from tfmtl import Categorical, DTRNRepresentation, Sequence
    >>> item = Categorical("item", num_ids=1000, dim=8, table="item")
    >>> features = [item, Sequence("seen", [item], length=20)]
    >>> bottom = DTRNRepresentation(features, ["click", "buy"], target="item")
    >>> bottom.compute_output_shape({"item": (None,), "seen_item": (None, 20), "seen_mask": (None, 20)})["buy"]
    (None, 16)

    Reference:
        Liu et al., "Deep Task-specific Bottom Representation Network for Multi-Task Recommendation", CIKM 2023,
        arXiv:2308.05996. The order of its two modules is established; the projections and the shared stream are ours.
    """

    task_specific = True

    def __init__(
        self,
        features: Iterable[Any],
        tasks: Iterable[str],
        *,
        target: str | Iterable[str] | None = None,
        dim: int | None = None,
        shared_input: SharedInput = "mean",
        priors: Iterable[str] = (),
        scenario: str | None = None,
        interactions: Iterable[Any] = (),
        num_blocks: int = 1,
        num_heads: int = 2,
        ffn_units: int | None = None,
        norm_position: NormPosition = "post",
        attention_bias: bool = False,
        pooling: Pooling | None = None,
        condition_dim: int = 16,
        hyper_units: Sequence[int] = (64,),
        condition_on: Condition = "task+behavior",
        share_transformer_across_behaviors: bool = True,
        refine: bool = True,
        reduction: int = 3,
        squeeze: Squeeze = "none",
        granularity: Granularity = "field",
        excitation: Excitation = "sigmoid",
        share_senet_across_tasks: bool = False,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        name: str = "bottom",
        **kwargs: Any,
    ):
        super().__init__(tasks, name=name, **kwargs)
        self.embed = FeatureEmbedding(
            features,
            pool_sequences=False,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            dtype=self.dtype_policy,
            name="embed",
        )
        read = self.embed.features
        self.behaviors = tuple(f for f in read if isinstance(f, History))
        self.fields = tuple(f.name for f in read if not isinstance(f, History))
        self.target = (target,) if isinstance(target, str) else tuple(target or ())
        self.dim = _width(dim, read)
        self.side = SideStreams(read, priors=priors, scenario=scenario)
        self.interactions = interactions_of(self.tasks, interactions, self.dtype_policy)
        self.refine = refine
        self.shared_input = shared_input
        self.extractor_options: dict[str, Any] = {
            "num_blocks": num_blocks,
            "num_heads": num_heads,
            "ffn_units": ffn_units,
            "norm_position": norm_position,
            "attention_bias": attention_bias,
            "pooling": pooling or ("target" if self.target else "mean"),
            "condition_dim": condition_dim,
            "hyper_units": list(check_units("hyper_units", hyper_units)),
            "condition_on": condition_on,
            "share_transformer_across_behaviors": share_transformer_across_behaviors,
        }
        self.senet_options: dict[str, Any] = {
            "reduction": reduction,
            "squeeze": squeeze,
            "granularity": granularity,
            "activation": excitation,
            "share_across_tasks": share_senet_across_tasks,
        }
        self._check()
        self.extract = (
            HyperSequenceExtractor(
                self.tasks,
                [f.name for f in self.behaviors],
                **self.extractor_options,
                dtype=self.dtype_policy,
                name="extract",
            )
            if self.behaviors
            else None
        )
        self.refiner = (
            TaskSENet(self.tasks, **self.senet_options, dtype=self.dtype_policy, name="refine") if refine else None
        )

    def _check(self) -> None:
        unknown = [name for name in self.target if name not in self.fields]
        if unknown:
            raise ValueError(
                f"`target` must name features that are no history. Received: {unknown}; known: {self.fields}"
            )
        if self.extractor_options["pooling"] == "target" and not self.target:
            raise ValueError("`target` must name a feature where pooling='target'. Received: target=None")
        weighed = [f.name for f in self.behaviors if f.weights is not None]
        if self.extractor_options["pooling"] == "last" and weighed:
            raise ValueError(
                f"`weights` change nothing where pooling='last' reads one event. Received: weights of {weighed}"
            )
        check_option("shared_input", self.shared_input, SharedInput)

    def build(self, input_shape: Any) -> None:
        self.embed.build(input_shape)
        shapes = self.embed.compute_output_shape(input_shape)
        widths = {name: total_width([shape]) for name, shape in shapes.items()}
        self.projections = {
            name: self._projection(f"{name}_to_dim", width) for name, width in widths.items() if width != self.dim
        }
        self.target_projection = None  # of its own, since a feature may be called `target` too
        if self.extract is not None:
            width = sum(widths[name] for name in self.target)
            if self.extract.pooling == "target" and width != self.dim:
                self.target_projection = self._projection("target_projection", width)
            self.extract.build({f.name: (None, f.length, self.dim) for f in self.behaviors})
        if self.refiner is not None:
            self.refiner.build({task: self._grid() for task in self.tasks})
        _, fields, dim = self._grid()
        for layer in self.interactions.values():
            layer.build([(None, dim)] * fields)
        self.built = True

    def _projection(self, name: str, width: int) -> Any:
        dense = keras.layers.Dense(self.dim, use_bias=False, dtype=self.dtype_policy, name=name)
        dense.build((None, width))
        return dense

    def _grid(self) -> tuple[int | None, int, int]:
        """What is refined: all fields and one interest a behaviour."""
        return (None, len(self.fields) + len(self.behaviors), self.dim)

    def call(self, encoded: Encoded, training: bool | None = None) -> Streams:
        embedded = self.embed(encoded, training=training)
        fixed = [self._to_dim(name, embedded[name]) for name in self.fields]
        interests = self._interests(encoded, embedded)
        grids = {task: ops.concatenate([*(f[:, None] for f in fixed), *own], axis=1) for task, own in interests.items()}
        refined = grids if self.refiner is None else self.refiner(grids)
        shared = grids if self.shared_input == "fixed" else refined
        refined = {**refined, SHARED: ops.mean(ops.stack(list(shared.values()), axis=0), axis=0)}
        _, fields, dim = self._grid()
        streams = {stream: ops.reshape(grid, (-1, fields * dim)) for stream, grid in refined.items()}
        if self.interactions:
            made = {
                task: layer(ops.unstack(refined[task], fields, axis=1)) for task, layer in self.interactions.items()
            }
            made[SHARED] = ops.mean(ops.stack(list(made.values()), axis=0), axis=0)
            streams = {stream: join_fields([flat, made[stream]]) for stream, flat in streams.items()}
        return {**streams, **self.side.of(encoded, embedded, self.compute_dtype)}

    def _to_dim(self, name: str, values: Tensor) -> Tensor:
        return self.projections[name](values) if name in self.projections else values

    def _interests(self, encoded: Encoded, embedded: Encoded) -> dict[str, list[Tensor]]:
        """`{task: [(B, S, dim)]}`; nothing without histories."""
        if self.extract is None:
            return {task: [] for task in self.tasks}
        return {
            task: [interest]
            for task, interest in self.extract(*self._searched(self.extract, encoded, embedded)).items()
        }

    def attention(self, encoded: Encoded) -> dict[str, dict[str, Tensor]]:
        """What each task looks at in each history: `{task: {behavior: (B, L)}}`, which sum to 1 over the events."""
        if self.extract is None:
            return {task: {} for task in self.tasks}
        return self.extract.attention(*self._searched(self.extract, encoded, self.embed(encoded)))

    def _searched(self, extract: HyperSequenceExtractor, encoded: Encoded, embedded: Encoded) -> list[Any]:
        """The extractor's arguments: histories, masks, the target where it searches for one, weights of events."""
        check_columns([f.mask for f in self.behaviors], encoded)
        sequences = {f.name: self._to_dim(f.name, embedded[f.name]) for f in self.behaviors}
        masks = {f.name: encoded[f.mask] for f in self.behaviors}
        target = None
        if extract.pooling == "target":
            target = ops.concatenate([embedded[name] for name in self.target], axis=-1)
            target = target if self.target_projection is None else self.target_projection(target)
        weighed = {f.name: f.weights for f in self.behaviors if f.weights is not None}
        check_columns(weighed.values(), encoded)
        return [sequences, masks, target, {name: encoded[column] for name, column in weighed.items()} or None]

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        shapes = self.embed.compute_output_shape(input_shape)
        batch = next(iter(shapes.values()))[0]
        _, fields, dim = self._grid()
        made = sum(next(iter(self.interactions.values())).widths) if self.interactions else 0
        return {**dict.fromkeys(self.main_streams, (batch, fields * dim + made)), **self.side.shapes(shapes)}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **embedding_config(self.embed),
            **interactions_config(self.interactions.values()),
            "target": list(self.target),
            "dim": self.dim,
            "shared_input": self.shared_input,
            **self.extractor_options,
            "refine": self.refine,
            **{key: self.senet_options[key] for key in ("reduction", "squeeze", "granularity")},
            "excitation": self.senet_options["activation"],
            "share_senet_across_tasks": self.senet_options["share_across_tasks"],
        }


def _width(dim: int | None, features: Iterable[Feature]) -> int:
    """`dim`, or the width of the first categorical feature."""
    if dim is not None:
        return check_count("dim", dim)
    first = next((feature.dim for feature in features if isinstance(feature, Categorical)), None)
    if first is None:
        raise ValueError("`dim` must be an integer >= 1 where no feature is `Categorical`. Received: dim=None")
    return first

"""DTRN's interests: what each task reads in each behaviour history."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_count, check_names, check_option, check_units
from tfmtl.keras_host import add_uncast, keras, ops, register_layer
from tfmtl.layers.conditional_transformer import ConditionalTransformer, NormPosition
from tfmtl.layers.encoded_histories import EncodedHistories, recency_of
from tfmtl.layers.norm_hypernetwork import BETA, GAMMA, Condition, NormHypernetwork
from tfmtl.layers.pooling import divided
from tfmtl.layers.self_attention import MASKED
from tfmtl.typing import Tensor

Pooling: TypeAlias = Literal["target", "mean", "last"]


@register_layer
class HyperSequenceExtractor(keras.layers.Layer):
    """Reads every behaviour history once for each task, with one transformer that a hypernetwork steers.

    ```
    u_{t,s}             = MLP([task_t ; behavior_s])                        two learned embeddings, no rows
    gamma_{t,s,n}       = 1 + u_{t,s} G_n + g_n                             of every layer normalisation n
    beta_{t,s,n}        =     u_{t,s} H_n + h_n
    O_{t,s}             = transformer(x_s + position; gamma_{t,s}, beta_{t,s})        (B, L, D)
    w_{t,s}             = softmax_l((target W_q) . O_{t,s,l} / sqrt(D))               (B, L), 0 on padding
    interest_{t,s}      = sum_l w_{t,s,l} O_{t,s,l}                                   (B, D)
    ```

    `G, g, H, h` start at zero: a fresh layer is a plain transformer, the same for all tasks. Only embeddings grow with
    the number of tasks and behaviours. Gamma and beta cost one tiny matmul a step; the attention of the first block runs
    once for each behaviour, not for each task; behaviours of one length are encoded as one batch.

    Positions are counted from the most recent event, so padding changes nothing, on whichever side and however long it
    is. An empty history gives zeros. Where events come with weights v, the interest is the mean by `w * v`:
    `sum_l w_l v_l O_l / sum_l w_l v_l`, zeros where these sum to 0.

    Args:
        tasks: names of the tasks, the keys of the output.
        behaviors: names of the histories, the keys of the input and the order of the output's second axis.
        num_blocks: transformer blocks.
        num_heads: heads of the attention; must divide `D`.
        ffn_units: hidden units of the transformer's feed-forward part; None is `4 D`.
        norm_position: `"post"` or `"pre"`; with `"pre"` no part of the attention is shared by the tasks.
        attention_bias: whether the attention's queries, values and output have a bias.
        pooling: `"target"` (above), `"mean"` over the events, or `"last"`, the most recent event.
        condition_dim: width of the task and of the behaviour embeddings.
        hyper_units: hidden layers of the hypernetwork.
        condition_on: what the hypernetwork reads: `"task+behavior"`, or for ablations `"task"`, `"behavior"`, `"none"`
            (one plain transformer; where the task is not read, all tasks get the same interests, computed once).
        share_transformer_across_behaviors: False gives each behaviour a transformer of its own.

    Call arguments:
        sequences: `{behavior: (B, L, D)}`; L may differ by behaviour.
        masks: `{behavior: (B, L)}`, 1 or true for events.
        target: `(B, D)`, the item to score; for `pooling="target"` alone.
        weights: `{behavior: (B, L)}` of the behaviours whose events count by a number each, `v` above; the transformer
            reads their events alike.

    Output shape:
        `{task: (B, S, D)}`, S behaviours.

    Raises:
        ValueError: no or repeated names, an unknown option, a count below 1; sequences or masks that lack a behaviour or
            hold another, weights of no behaviour or for `pooling="last"`, which reads one event, sequences of several widths, a
            target that is missing, of another width, or not read.

    Example:

    >>> import keras
    >>> from tfmtl.layers import HyperSequenceExtractor
    >>> history = {"view": keras.random.normal((8, 20, 16)), "buy": keras.random.normal((8, 5, 16))}
    >>> masks = {"view": keras.ops.ones((8, 20), "bool"), "buy": keras.ops.ones((8, 5), "bool")}
    >>> extractor = HyperSequenceExtractor(["click", "pay"], ["view", "buy"])
    >>> interests = extractor(history, masks, keras.random.normal((8, 16)))
    >>> tuple(interests["pay"].shape)
    (8, 2, 16)

    Reference:
        Liu et al., "Deep Task-specific Bottom Representation Network for Multi-Task Recommendation", CIKM 2023,
        arXiv:2308.05996 (the TIM module). Established: the hypernetwork's two inputs, and that it emits the layer
        normalisations' gamma and beta. Sizes, the norms' place, position embeddings, the pooling and the zeros of an
        empty history are our choices: the paper's text leaves them open and no code was published.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        behaviors: Sequence[str],
        *,
        num_blocks: int = 1,
        num_heads: int = 2,
        ffn_units: int | None = None,
        norm_position: NormPosition = "post",
        attention_bias: bool = False,
        pooling: Pooling = "target",
        condition_dim: int = 16,
        hyper_units: Sequence[int] = (64,),
        condition_on: Condition = "task+behavior",
        share_transformer_across_behaviors: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.tasks = check_names("tasks", tasks)
        self.behaviors = check_names("behaviors", behaviors)
        check_option("pooling", pooling, Pooling)
        check_option("condition_on", condition_on, Condition)
        self.condition_dim = check_count("condition_dim", condition_dim)
        self.hyper_units = check_units("hyper_units", hyper_units)
        self.pooling = pooling
        self.condition_on = condition_on
        self.share_transformer_across_behaviors = share_transformer_across_behaviors
        owners = ("all",) if share_transformer_across_behaviors else self.behaviors
        self.transformers = [
            ConditionalTransformer(
                num_blocks=num_blocks,
                num_heads=num_heads,
                ffn_units=ffn_units,
                norm_position=norm_position,
                attention_bias=attention_bias,
                dtype=self.dtype_policy,
                name=f"{owner}_transformer",
            )
            for owner in owners
        ]

    def build(self, sequences_shape: Mapping[str, Any]) -> None:
        _check_keys("sequences", sequences_shape, self.behaviors)
        shapes = {name: tuple(sequences_shape[name]) for name in self.behaviors}
        if len({shape[-1] for shape in shapes.values()}) > 1 or any(len(shape) != 3 for shape in shapes.values()):
            raise ValueError(f"Sequences must be (B, L, D) with one D for all. Received: shapes={shapes}")
        if any(length is None for _, length, _ in shapes.values()):
            raise ValueError(f"Sequences need a known length, for their position embeddings. Received: shapes={shapes}")
        width = shapes[self.behaviors[0]][-1]
        for transformer in self.transformers:
            transformer.build((None, None, None, width))
        self.max_length = max(length for _, length, _ in shapes.values())
        self.positions = add_uncast(self, "positions", (self.max_length, width), "uniform")
        self.hypernetwork = NormHypernetwork(
            num_tasks=len(self.tasks),
            num_behaviors=len(self.behaviors),
            num_norms=self.transformers[0].num_norms,
            width=width,
            condition_on=self.condition_on,
            condition_dim=self.condition_dim,
            units=self.hyper_units,
            dtype="float32",
            name="hypernetwork",
        )
        self.hypernetwork.build((None, 2))
        if self.pooling == "target":
            self.query = keras.layers.Dense(width, use_bias=False, dtype=self.dtype_policy, name="query")
            self.query.build((None, width))
        self.built = True

    def modulation(self) -> Tensor:
        """Gamma and beta of every norm, for every task and behaviour: `(T, S, N, 2, D)` float32, gamma first."""
        found = self._modulation()
        return ops.broadcast_to(found, (len(self.tasks), len(self.behaviors), *found.shape[2:]))

    def attention(
        self,
        sequences: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        target: Tensor | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """The shares `{task: {behavior: (B, L)}}` that events have in the pooled interest: what a task looks at."""
        found: list[dict[str, Tensor]] = [{} for _ in self.tasks]
        for histories, shares in self._read(sequences, masks, target, weights or {}):
            every = ops.broadcast_to(shares, (len(self.tasks), *ops.shape(shares)[1:]))
            for task, (index, name) in product(range(len(self.tasks)), enumerate(histories.behaviors)):
                found[task][name] = every[task, index]
        return dict(zip(self.tasks, found, strict=True))

    def call(
        self,
        sequences: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        target: Tensor | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        interests: dict[str, Tensor] = {}
        for histories, shares in self._read(sequences, masks, target, weights or {}):
            pooled = ops.unstack(histories.pooled(shares), len(histories.behaviors), axis=1)
            interests.update(zip(histories.behaviors, pooled, strict=True))
        stacked = ops.stack([interests[name] for name in self.behaviors], axis=2)  # (T, B, S, D)
        if self.hypernetwork.reads_task:
            return dict(zip(self.tasks, ops.unstack(stacked, len(self.tasks)), strict=True))
        return dict.fromkeys(self.tasks, stacked[0])

    def _read(
        self,
        sequences: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        target: Tensor | None,
        weights: Mapping[str, Tensor],
    ) -> Iterator[tuple[EncodedHistories, Tensor]]:
        """`O_{t,s}` and how much of each event is pooled, one entry for all behaviours that are encoded together."""
        self._check(sequences, masks, target, weights)
        query = None if target is None else self.query(ops.cast(target, self.compute_dtype))
        modulation = self._modulation()
        for names, transformer in self._batches(sequences):
            chosen = modulation
            if self.hypernetwork.reads_behavior:
                chosen = ops.take(modulation, [self.behaviors.index(name) for name in names], axis=1)
            histories = self._encode(names, transformer, sequences, masks, chosen)
            shares = self._shares(histories, query)
            yield histories, _weighed(shares, histories, weights) if set(names) & set(weights) else shares

    def _batches(self, sequences: Mapping[str, Tensor]) -> Iterator[tuple[tuple[str, ...], Any]]:
        """The behaviours that go through a transformer together: those of one length, where they share it."""
        if not self.share_transformer_across_behaviors:
            yield from (
                ((name,), transformer) for name, transformer in zip(self.behaviors, self.transformers, strict=True)
            )
            return
        batches: dict[int, list[str]] = {}
        for name in self.behaviors:
            batches.setdefault(sequences[name].shape[1], []).append(name)
        yield from ((tuple(names), self.transformers[0]) for names in batches.values())

    def _encode(
        self,
        names: tuple[str, ...],
        transformer: ConditionalTransformer,
        sequences: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        modulation: Tensor,
    ) -> EncodedHistories:
        """`transformer(x_s + position; gamma_{t,s}, beta_{t,s})` of the behaviours `names`."""
        mask = ops.stack([ops.cast(masks[name], "bool") for name in names])  # (S, B, L)
        recency = recency_of(mask)
        x = ops.stack([ops.cast(sequences[name], self.compute_dtype) for name in names])
        x = x + ops.cast(ops.take(self.positions, ops.minimum(recency, self.max_length - 1), axis=0), x.dtype)
        x = ops.where(mask[..., None], x, ops.zeros_like(x))
        states = transformer(x, mask, modulation)
        last = ops.cast(modulation[:, :, -1, :, None], states.dtype)  # (T, S, 2, 1, D)
        return EncodedHistories(names, states, last[:, :, GAMMA], last[:, :, BETA], mask, recency)

    def _shares(self, histories: EncodedHistories, query: Tensor | None) -> Tensor:
        """`w_{t,s}`, how much each event counts in the interest: `(T, S, B, L)` float32; T is 1 where all tasks agree."""
        mask, states = histories.mask, histories.states
        events = ops.cast(mask, "float32")
        if self.pooling == "mean":
            return (events / ops.maximum(ops.sum(events, axis=-1, keepdims=True), 1.0))[None]
        if self.pooling == "last":
            return (events * ops.cast(histories.recency == 0, "float32"))[None]
        # The last norm's gamma goes to the query instead of to L states; its beta shifts all scores of a row alike.
        steered = (query * histories.gamma)[..., None]
        scores = ops.cast(ops.matmul(states, steered)[..., 0], "float32") * states.shape[-1] ** -0.5
        return ops.softmax(scores + ops.cast(ops.where(mask, 0.0, MASKED), "float32"), axis=-1) * events

    def _modulation(self) -> Tensor:
        """Gamma and beta, `(T, S, N, 2, D)` float32, where T or S is 1 if the hypernetwork does not read it."""
        num_tasks = len(self.tasks) if self.hypernetwork.reads_task else 1
        num_behaviors = len(self.behaviors) if self.hypernetwork.reads_behavior else 1
        pairs = ops.convert_to_tensor(list(product(range(num_tasks), range(num_behaviors))), dtype="int32")
        written = self.hypernetwork(pairs)
        return ops.reshape(written, (num_tasks, num_behaviors, *written.shape[1:]))

    def _check(
        self, sequences: Mapping[str, Any], masks: Mapping[str, Any], target: Any, weights: Mapping[str, Any]
    ) -> None:
        _check_keys("sequences", sequences, self.behaviors)
        _check_keys("masks", masks, self.behaviors)
        if weights and (self.pooling == "last" or not set(weights) <= set(self.behaviors)):
            raise ValueError(
                "`weights` must be of behaviours, and change nothing where pooling='last' reads one event. "
                f"Received: weights of {sorted(weights)}, pooling={self.pooling!r}; known: {sorted(self.behaviors)}"
            )
        width = self.positions.shape[-1]
        if self.pooling != "target" and target is not None:
            raise ValueError(
                f"pooling={self.pooling!r} does not read a target. Received: target of shape {target.shape}"
            )
        if self.pooling == "target" and (target is None or target.shape[-1] != width):
            received = None if target is None else tuple(target.shape)
            raise ValueError(
                f"pooling='target' needs a target of the sequences' width {width}. Received: target={received}"
            )

    def compute_output_shape(self, sequences_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        batch, _, width = sequences_shape[self.behaviors[0]]
        return dict.fromkeys(self.tasks, (batch, len(self.behaviors), width))

    def get_config(self) -> dict[str, Any]:
        transformer = self.transformers[0].get_config()
        options = ("num_blocks", "num_heads", "ffn_units", "norm_position", "attention_bias")
        shared = {key: transformer[key] for key in options}
        return {
            **super().get_config(),
            **shared,
            "tasks": list(self.tasks),
            "behaviors": list(self.behaviors),
            "pooling": self.pooling,
            "condition_dim": self.condition_dim,
            "hyper_units": list(self.hyper_units),
            "condition_on": self.condition_on,
            "share_transformer_across_behaviors": self.share_transformer_across_behaviors,
        }


def _weighed(shares: Tensor, histories: EncodedHistories, weights: Mapping[str, Tensor]) -> Tensor:
    """`shares` times the weights of the events, made to sum to 1 again; zeros where they sum to 0."""
    alike = ops.ones_like(histories.mask[0], dtype="float32")
    counts = ops.stack([ops.cast(weights.get(name, alike), "float32") for name in histories.behaviors])  # (S, B, L)
    weighed = shares * counts
    return divided(weighed, ops.sum(weighed, axis=-1, keepdims=True))


def _check_keys(what: str, given: Mapping[str, Any], names: tuple[str, ...]) -> None:
    if not isinstance(given, Mapping) or set(given) != set(names):
        received = sorted(given) if isinstance(given, Mapping) else type(given).__name__
        raise ValueError(f"`{what}` must be a dict with the keys {sorted(names)}. Received: {received}")

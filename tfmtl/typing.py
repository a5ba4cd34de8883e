"""The currency between stages: dicts of tensors, keyed by name."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

Tensor: TypeAlias = Any
"""A tensor of whichever backend Keras runs on."""

Encoded: TypeAlias = dict[str, Tensor]
"""What a model reads. Categorical or bucketed: `(B,)` int32 row numbers. Numeric: `(B,)` or `(B, size)` float32,
NaN where missing. Sequence: `(B, L)` int32 for each field, and `{name}_mask` `(B, L)` int32."""

Streams: TypeAlias = dict[str, Tensor]
"""`{task: (B, D_task), ..., "shared": (B, D_shared)}`: what bottoms give and trunks transform."""

Predictions: TypeAlias = dict[str, Tensor]
"""`{task: (B, width)}` float32. One column for a binary task (a probability) and a regression (a value), one a class for a
multiclass task; `tfmtl.outputs.Output` has the other forms."""

SHARED = "shared"
"""The name of the stream that belongs to no task. No task may take it."""

PRIOR = "prior"
"""The name of the side stream that holds the embeddings of chosen fields, side by side, for heads that are steered by them."""

SCENARIO = "scenario"
"""The name of the side stream that tells the scenario of a row, `(B, P)`: 1 at the row of its id and 0 elsewhere."""

SIDE_STREAMS = (PRIOR, SCENARIO)
"""Streams that a bottom may give beside those of the tasks: no trunk reads them, and heads do that say so
(`tfmtl.stages.ReadsSideStreams`). No task may take their names."""

SERVED = ("serving_default", "serving_ids", "examples", "classify", "rank", "score")
"""Signatures and outputs of every export. A task's own signature and output have its name, so no task may take these."""

TaskKind: TypeAlias = Literal["binary", "regression", "multiclass"]
LabelKind: TypeAlias = Literal["binary", "regression", "multiclass", "nonnegative"]
OutputForm: TypeAlias = Literal["probability", "value", "positive", "classes", "ordered", "quantiles", "zero_inflated"]
Side: TypeAlias = Literal["user", "item", "context"]
IdDtype: TypeAlias = Literal["string", "int64"]


@runtime_checkable
class SeparableStreams(Protocol):
    """A layer that gives `{stream: tensor}` from encoded columns, each stream from weights of its own.

    An export that serves some tasks keeps the weights of the streams that these tasks read.
    """

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams."""

    def for_streams(self, streams: Iterable[str]) -> Callable[[Encoded], Streams]:
        """What gives some of the streams, with copies of the weights that they need and no others."""


class Mixture(NamedTuple):
    """What experts and gates of one level make of a batch.

    Attributes:
        name: of the level.
        experts: `{owner: (B, E, U)}`, what the experts of each stream give; `"shared"` owns those of no task.
        gates: `{reader: (B, N)}`, the weights by which each stream mixes its candidates, rows sum to 1; only of streams that
            have a gate.
        candidates: `{reader: owners}`, whose experts the N weights of a gate stand for, owner after owner.
    """

    name: str
    experts: Mapping[str, Tensor]
    gates: Mapping[str, Tensor]
    candidates: Mapping[str, tuple[str, ...]]


@runtime_checkable
class MixesExperts(Protocol):
    """A layer of experts and gates that can be looked at, as `tfmtl.analysis.diagnose` does."""

    def mixtures(self, streams: Streams) -> list[Mixture]:
        """What its experts and gates make of `streams`, the layer's input: one entry a level, the first level first."""

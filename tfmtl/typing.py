"""The currency between stages: dicts of tensors, keyed by name."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

Tensor: TypeAlias = Any
"""A tensor of whichever backend Keras runs on."""

Encoded: TypeAlias = dict[str, Tensor]
"""What a model reads. Categorical or bucketed: `(B,)` int32 row numbers. Numeric: `(B,)` or `(B, size)` float32,
NaN where missing. Sequence: `(B, L)` int32 for each field, and `{name}_mask` `(B, L)` int32."""

Streams: TypeAlias = dict[str, Tensor]
"""`{task: (B, D_task), ..., "shared": (B, D_shared)}`: what bottoms give and trunks transform."""

Predictions: TypeAlias = dict[str, Tensor]
"""`{task: (B, 1)}` float32: a probability for a binary task, a value for a regression."""

SHARED = "shared"
"""The name of the stream that belongs to no task. No task may take it."""

SERVED = ("serving_default", "serving_ids", "examples", "classify", "rank", "score")
"""Signatures and outputs of every export. A task's own signature and output have its name, so no task may take these."""

TaskKind: TypeAlias = Literal["binary", "regression"]
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

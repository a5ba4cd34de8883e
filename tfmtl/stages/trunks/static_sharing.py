"""Sharing without gates: what a task reads beside its own network is decided by hand."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_option, check_units
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.mlp import MLP
from tfmtl.layers.stream_checks import check_streams, task_names
from tfmtl.typing import SHARED, Streams, Tensor

Fusion: TypeAlias = Literal["concat", "sum", "mean"]


@register_layer
class StaticSharing(keras.layers.Layer):
    """Fuses every task's own network with those of its donors.

    ```
    f_s = MLP_s(x_s)                                     s: a task, or "shared" where it is a donor
    y_t = fuse(f_t, f_d1, f_d2, ...)                     d: the donors of t
    ```

    Customized sharing gives every task the donor `"shared"`; asymmetric sharing lets a chosen task read another one's
    network, and not the other way round.

    Args:
        units: layers of each network.
        donors: `{task: names of the streams it reads besides its own}`; a task that is not named has none. None gives
            every task `"shared"`.
        fusion: `"concat"`, `"sum"` or `"mean"`.
        activation: of the networks.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`.

    Output shape:
        `{task: (B, units[-1])}`, with `"concat"` as many times wider as the task reads networks.

    Raises:
        ValueError: no unit, an unknown fusion, donors that are one name, a donor or task that is no stream, a donor given
            twice, a task as its own donor, or donors for `"shared"`.

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 5.1.2 and figure 1. The paper does not
        say which task shares nor how it fuses.
    """

    reads_own = True

    def __init__(
        self,
        units: Sequence[int] = (256, 128),
        *,
        donors: Mapping[str, Iterable[str]] | None = None,
        fusion: Fusion = "concat",
        activation: Any = "relu",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.units = check_units("units", units, least=1)
        check_option("fusion", fusion, Fusion)
        self.donors = None if donors is None else _checked_donors(donors)
        self.fusion = fusion
        self.activation = keras.activations.get(activation)

    @property
    def reads_shared(self) -> bool:
        """Whether a task reads the shared stream."""
        return self.donors is None or any(SHARED in names for names in self.donors.values())

    def sources(self, task: str) -> tuple[str, ...]:
        """The networks that `task` reads."""
        return (task, *((SHARED,) if self.donors is None else self.donors.get(task, ())))

    def build(self, input_shape: Mapping[str, Any]) -> None:
        self.tasks = task_names(input_shape, needs_shared=self.reads_shared)
        named = {name for task, names in (self.donors or {}).items() for name in (task, *names)}
        unknown = sorted(named - {*self.tasks, SHARED})
        if unknown:
            raise ValueError(f"`donors` names {unknown}, which are no streams. Received: keys={sorted(input_shape)}")
        self.networks = {}
        for source in self.tasks + ((SHARED,) if self.reads_shared else ()):
            network = MLP(self.units, activation=self.activation, dtype=self.dtype_policy, name=f"{source}_network")
            network.build(input_shape[source])
            self.networks[source] = network
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        check_streams(self, streams)
        made = {source: network(streams[source], training=training) for source, network in self.networks.items()}
        return {task: self._fuse([made[source] for source in self.sources(task)]) for task in self.tasks}

    def _fuse(self, parts: list[Tensor]) -> Tensor:
        if self.fusion == "concat":
            return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
        stacked = ops.stack(parts, axis=0)
        return ops.sum(stacked, axis=0) if self.fusion == "sum" else ops.mean(stacked, axis=0)

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        tasks = task_names(input_shape, needs_shared=self.reads_shared)
        check_streams(self, input_shape)
        times = {task: len(self.sources(task)) if self.fusion == "concat" else 1 for task in tasks}
        return {task: (input_shape[task][0], times[task] * self.units[-1]) for task in tasks}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": list(self.units),
            "donors": None if self.donors is None else {task: list(names) for task, names in self.donors.items()},
            "fusion": self.fusion,
            "activation": keras.activations.serialize(self.activation),
        }


def _checked_donors(donors: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """`donors` as tuples; raises ValueError unless every task has other streams, each once, as its donors."""
    alone = [task for task, names in donors.items() if isinstance(names, str)]
    if alone:
        raise ValueError(
            f"`donors` must be {{task: names of streams}}, each a sequence. Received: donors={dict(donors)}"
        )
    found = {task: tuple(names) for task, names in donors.items()}
    if any(task in names for task, names in found.items()):
        raise ValueError(f"A task reads its own network anyway. Received: donors={found}")
    if any(len(set(names)) < len(names) for names in found.values()):
        raise ValueError(f"`donors` must name a stream once for each task. Received: donors={found}")
    if SHARED in found:
        raise ValueError(f"`donors` must not be given for {SHARED!r}, which has no task. Received: donors={found}")
    return found

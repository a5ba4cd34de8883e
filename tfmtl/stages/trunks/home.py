"""A hierarchy of gated experts: for all tasks, for groups of tasks, for each task."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from tfmtl.checks import check_count, check_dropout, check_units
from tfmtl.initializers import fresh
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.feature_gate import FeatureGate
from tfmtl.layers.gate import Gate
from tfmtl.layers.normalized_experts import NormalizedExperts
from tfmtl.layers.self_gate import SelfGate
from tfmtl.layers.stream_checks import check_streams, task_names
from tfmtl.layers.weighted_sum import weighted_sum
from tfmtl.schema.names import check_name
from tfmtl.typing import SHARED, Mixture, Streams, Tensor

ALL = "all"
LEVELS = ("meta", "last")


@register_layer
class HoME(keras.layers.Layer):
    """Mixes experts on two levels: tasks of a group share what others do not get to see.

    ```
    E_s   = NormalizedExperts_s(FeatureGate_s(x))           s: "shared" and every group; x: the shared stream
    z_g   = Gate_g(x) [E_shared; E_g] + SelfGate_g(x) E_g   what the tasks of group g have in common
    z_sh  = Gate_sh(x) [E_shared; E_1; ...; E_G] + SelfGate_sh(x) E_shared

    F_sh, F_g, F_t = NormalizedExperts(FeatureGate(z_sh)), (z_g), (z_g)                         t: a task, g: its group
    y_t   = Gate_t(q_t) [F_sh; F_g; F_t] + SelfGate_t(q_t) F_t                                  q_t = [z_g; z_sh]
    ```

    That a gate is not shown the experts of other groups and tasks is the paper's hierarchy mask.

    Args:
        units: width of the experts of either level.
        groups: `{name: its tasks}`, such as `{"watch": ["long_view"], "interact": ["like", "follow"]}`; every task belongs to
            one. None puts all tasks into one group.
        num_shared_experts: experts of all tasks, on either level.
        num_group_experts: experts of each group, on either level.
        num_task_experts: experts of each task, on the second level.
        num_feature_gates: pairs of matrices of a feature gate; 0 leaves feature gates out.
        self_gates: whether mixtures have self gates.
        activation: of the experts, after their normalisation.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`; the shared stream is read.

    Output shape:
        `{task: (B, units[1])}`.

    Raises:
        ValueError: not two widths, a count below 1, `dropout` outside [0, 1), groups that leave out a task, name an unknown one
            or one twice, or are called like a task or `"shared"`; streams without `"shared"` or without a task.

    Example:

    >>> import keras
    >>> from tfmtl.stages import HoME
    >>> x = keras.random.normal((8, 100))
    >>> trunk = HoME((64, 32), groups={"watch": ["finish"], "interact": ["like", "follow"]})
    >>> y = trunk({"finish": x, "like": x, "follow": x, "shared": x})
    >>> tuple(y["like"].shape)
    (8, 32)

    Reference:
        Wang et al., "HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou", 2024, arXiv:2408.05430. What
        the second level's experts read, all experts of a set through one feature gate, is our reading of its figure.
    """

    reads_own = False
    reads_shared = True

    def __init__(
        self,
        units: Sequence[int] = (256, 128),
        *,
        groups: Mapping[str, Iterable[str]] | None = None,
        num_shared_experts: int = 2,
        num_group_experts: int = 2,
        num_task_experts: int = 1,
        num_feature_gates: int = 2,
        self_gates: bool = True,
        activation: Any = "swish",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.units = check_units("units", units, least=2)
        if len(self.units) != 2:
            raise ValueError(f"`units` needs two widths, one a level. Received: units={units}")
        self.groups = None if groups is None else _checked_groups(groups)
        self.num_shared_experts = check_count("num_shared_experts", num_shared_experts)
        self.num_group_experts = check_count("num_group_experts", num_group_experts)
        self.num_task_experts = check_count("num_task_experts", num_task_experts)
        self.num_feature_gates = check_count("num_feature_gates", num_feature_gates, least=0)
        check_dropout(dropout)
        self.self_gates = self_gates
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Mapping[str, Any]) -> None:
        self.tasks = task_names(input_shape, needs_shared=True)
        self.group_of = self._group_of()
        names = tuple(dict.fromkeys(self.group_of.values())) if self.groups is None else tuple(self.groups)
        wide, below = input_shape[SHARED][-1], self.units[0]
        self.features: dict[str, FeatureGate] = {}
        self.experts: dict[str, NormalizedExperts] = {}
        self.mixers: dict[str, Gate] = {}
        self.selves: dict[str, SelfGate] = {}
        counts = {SHARED: self.num_shared_experts} | dict.fromkeys(names, self.num_group_experts)
        self._add_experts("meta", counts, wide, self.units[0])
        self._add_gates("meta", counts, counts, wide)
        counts = counts | dict.fromkeys(self.tasks, self.num_task_experts)
        self._add_experts("last", counts, below, self.units[1])
        self._add_gates("last", self.tasks, counts, 2 * below)
        self.built = True

    def _group_of(self) -> dict[str, str]:
        """`{task: its group}`."""
        if self.groups is None:
            return dict.fromkeys(self.tasks, ALL)
        found = {task: group for group, tasks in self.groups.items() for task in tasks}
        if set(found) != set(self.tasks) or set(self.groups) & {*self.tasks, SHARED}:
            raise ValueError(
                "`groups` must hold every task once, under names that no stream has. "
                f"Received: groups={self.groups}; tasks: {list(self.tasks)}"
            )
        return found

    def candidates(self, level: str, reader: str) -> tuple[str, ...]:
        """Whose experts a mixture reads, in the order of its gate's weights; its own are the last ones.

        Args:
            level: one of `LEVELS`.
            reader: `"shared"` or a group on the first level, a task on the second.
        """
        if level == "last":
            return (SHARED, self.group_of[reader], reader)
        if reader != SHARED:
            return (SHARED, reader)
        return (*dict.fromkeys(self.group_of[task] for task in self.tasks), SHARED)

    def _add_experts(self, level: str, counts: Mapping[str, int], width: int, units: int) -> None:
        """Builds the experts of a level, which read tensors of `width`; `counts` is `{owner: how many}`."""
        for owner, num in counts.items():
            place = f"{level}_{owner}"
            if self.num_feature_gates:
                self.features[place] = FeatureGate(
                    self.num_feature_gates, dtype=self.dtype_policy, name=f"{place}_features"
                )
                self.features[place].build((None, width))
            self.experts[place] = NormalizedExperts(
                num,
                units,
                activation=self.activation,
                dropout=self.dropout,
                kernel_initializer=fresh(self.kernel_initializer, place),
                dtype=self.dtype_policy,
                name=f"{place}_experts",
            )
            self.experts[place].build((None, width))

    def _add_gates(self, level: str, readers: Iterable[str], counts: Mapping[str, int], width: int) -> None:
        """Builds the gates of the mixtures of a level, which read tensors of `width`."""
        for reader in readers:
            place = f"{level}_{reader}"
            num = sum(counts[owner] for owner in self.candidates(level, reader))
            self.mixers[place] = Gate(num, dtype=self.dtype_policy, name=f"{place}_gate")
            self.mixers[place].build((None, width))
            if self.self_gates:
                self.selves[place] = SelfGate(counts[reader], dtype=self.dtype_policy, name=f"{place}_self")
                self.selves[place].build((None, width))

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        check_streams(self, streams)
        _, (experts, queries) = self._levels(streams[SHARED], training)
        return self._mix("last", experts, queries)

    def _levels(self, x: Tensor, training: bool | None) -> list[tuple[Streams, Streams]]:
        """For each level its experts, `{owner: (B, E, U)}`, and what its gates read, `{reader: (B, D)}`."""
        everyone = dict.fromkeys((SHARED, *self.group_of.values()), x)
        meta = self._experts("meta", everyone, training)
        mixed = self._mix("meta", meta, everyone)  # z
        of_tasks = {task: mixed[group] for task, group in self.group_of.items()}
        queries = {task: ops.concatenate([z, mixed[SHARED]], axis=-1) for task, z in of_tasks.items()}
        return [(meta, everyone), (self._experts("last", {**mixed, **of_tasks}, training), queries)]

    def _experts(self, level: str, read: Streams, training: bool | None) -> Streams:
        found = {}
        for owner, x in read.items():
            place = f"{level}_{owner}"
            found[owner] = self.experts[place](
                self.features[place](x) if self.num_feature_gates else x, training=training
            )
        return found

    def _mix(self, level: str, experts: Streams, queries: Streams) -> Streams:
        mixed = {}
        for reader, query in queries.items():
            place = f"{level}_{reader}"
            selected = [experts[owner] for owner in self.candidates(level, reader)]
            mixed[reader] = weighted_sum(self.mixers[place](query), selected)
            if self.self_gates:
                mixed[reader] = mixed[reader] + weighted_sum(self.selves[place](query), [experts[reader]])
        return mixed

    def gates(self, streams: Streams) -> list[Streams]:
        """The mixing weights of either level, self gates aside: of groups and `"shared"`, then of tasks."""
        return [dict(mixture.gates) for mixture in self.mixtures(streams)]

    def mixtures(self, streams: Streams) -> list[Mixture]:
        """What the experts and gates of either level make of it, self gates aside (`tfmtl.typing.MixesExperts`)."""
        found = []
        for level, (experts, queries) in zip(LEVELS, self._levels(streams[SHARED], training=False), strict=True):
            gates = {reader: self.mixers[f"{level}_{reader}"](query) for reader, query in queries.items()}
            candidates = {reader: self.candidates(level, reader) for reader in gates}
            found.append(Mixture(f"{self.name}/{level}", experts, gates, candidates))
        return found

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        tasks = task_names(input_shape, needs_shared=True)
        check_streams(self, input_shape)
        return dict.fromkeys(tasks, (input_shape[SHARED][0], self.units[1]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": list(self.units),
            "groups": None if self.groups is None else {group: list(tasks) for group, tasks in self.groups.items()},
            "num_shared_experts": self.num_shared_experts,
            "num_group_experts": self.num_group_experts,
            "num_task_experts": self.num_task_experts,
            "num_feature_gates": self.num_feature_gates,
            "self_gates": self.self_gates,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _checked_groups(groups: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """`groups` as tuples; raises ValueError unless each is named and has tasks, and none has two groups."""
    found = {group: (tasks,) if isinstance(tasks, str) else tuple(tasks) for group, tasks in groups.items()}
    for group in found:
        check_name("group", group)
    members = list(chain(*found.values()))
    if not found or not all(found.values()) or len(set(members)) < len(members):
        raise ValueError(f"`groups` needs a task or more in each, and no task in two. Received: groups={found}")
    return found

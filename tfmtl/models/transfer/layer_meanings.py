"""What the weights of each layer stand for, given what its inputs stand for.

`follow` goes through a layer as `call` does, with labels in place of numbers. A layer without an entry here is unknown: its
weights have counterparts only where nothing about it has changed.
"""

from collections.abc import Mapping
from functools import singledispatch
from itertools import chain, product
from typing import Any, TypeAlias

from tfmtl.keras_host import keras
from tfmtl.layers.adatt_layer import AdaTTLayer
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.layers.dselect_k_gate import DSelectKGate
from tfmtl.layers.experts import Experts
from tfmtl.layers.feature_gate import FeatureGate
from tfmtl.layers.gate_nu import GateNU
from tfmtl.layers.global_batch_normalization import GlobalBatchNormalization
from tfmtl.layers.information_transfer import InformationTransfer
from tfmtl.layers.join_streams import JoinStreams
from tfmtl.layers.mlp import MLP
from tfmtl.layers.normalized_experts import NormalizedExperts
from tfmtl.layers.partitioned_normalization import PartitionedNormalization
from tfmtl.layers.star_dense import StarDense
from tfmtl.layers.subnetwork_routing import SubnetworkRouting
from tfmtl.layers.task_tower import TaskTower
from tfmtl.models.transfer.meanings import Axis, Labels, Meanings, numbered, within
from tfmtl.typing import SHARED

Given: TypeAlias = Any
"""Labels of a tensor, or `{stream: labels}`."""


@singledispatch
def follow(layer: Any, into: Meanings, name: str, given: Given) -> Given:
    """Notes what the weights of `layer` stand for and returns what its outputs stand for.

    Args:
        layer: built.
        into: where it is noted.
        name: of the layer within the model.
        given: what its inputs stand for.
    """
    into.add_unknown(name, layer, given)
    made = layer.compute_output_shape(_shapes(given)) if isinstance(given, Mapping) else _shapes_out(layer)
    # What it makes has a counterpart only where what it reads has.
    return {stream: within((name, _frozen(given)), numbered(shape[-1])) for stream, shape in made.items()}


def _shapes(given: Mapping[str, Labels]) -> dict[str, tuple[None, int]]:
    return {stream: (None, len(labels)) for stream, labels in given.items()}


def _shapes_out(layer: Any) -> dict[str, Any]:
    """The shapes of the streams that a stage of a functional model makes."""
    return {stream: tensor.shape for stream, tensor in layer.output.items()}


def _frozen(given: Given) -> Any:
    return tuple(sorted(given.items())) if isinstance(given, Mapping) else given


def dense(layer: Any, into: Meanings, name: str, given: Labels, made: Labels | None = None) -> Labels:
    """Notes a dense layer whose outputs stand for `made`."""
    made = numbered(layer.kernel.shape[-1]) if made is None else made
    into.add(f"{name}.kernel", layer.kernel, Axis(given, reads=True), Axis(made))
    if layer.use_bias:
        into.add(f"{name}.bias", layer.bias, Axis(made))
    return made


@follow.register
def _(layer: keras.layers.Dense, into: Meanings, name: str, given: Labels) -> Labels:
    return dense(layer, into, name, given)


@follow.register
def _(layer: GlobalBatchNormalization, into: Meanings, name: str, given: Labels) -> Labels:
    for part in ("gamma", "beta", "moving_mean", "moving_variance", "moving_rows"):
        into.add(f"{name}.{part}", getattr(layer, part), Axis(given))
    return given


@follow.register
def _(layer: keras.layers.Dropout, into: Meanings, name: str, given: Labels) -> Labels:
    return given


@follow.register
def _(layer: MLP, into: Meanings, name: str, given: Labels) -> Labels:
    depth = -1
    for step in layer.steps:
        if isinstance(step, keras.layers.Dense):
            depth += 1
        kind = "dense" if isinstance(step, keras.layers.Dense) else "norm"
        given = follow(step, into, f"{name}.{kind}[{depth}]", given)
    return given


@follow.register
def _(layer: TaskTower, into: Meanings, name: str, given: Labels) -> Labels:
    if layer.gives.form == "ordered":
        into.add(f"{name}.thresholds", layer.thresholds, Axis(numbered(layer.gives.width - 1)))
    return follow(layer.output_layer, into, f"{name}.output", follow(layer.hidden, into, f"{name}.hidden", given))


@follow.register
def _(layer: Experts, into: Meanings, name: str, given: Labels) -> Labels:
    experts = numbered(layer.num)
    for depth, units in enumerate(layer.units):
        made, kernel, bias = numbered(units), layer.kernels[depth], layer.biases[depth]
        if depth == 0:
            stacked = tuple(product(experts, made))
            into.add(f"{name}.kernels[0]", kernel, Axis(stacked), Axis(given, reads=True))
            into.add(f"{name}.biases[0]", bias, Axis(stacked))
        else:
            into.add(f"{name}.kernels[{depth}]", kernel, Axis(experts), Axis(given, reads=True), Axis(made))
            into.add(f"{name}.biases[{depth}]", bias, Axis(experts), Axis(made))
        given = made
    return given


def gate(layer: Any, into: Meanings, name: str, given: Labels, candidates: Labels) -> None:
    """Notes a gate over `candidates`."""
    if isinstance(layer, DSelectKGate):
        follow(layer, into, name, given)
        return
    dense(layer.logits, into, f"{name}.logits", follow(layer.hidden, into, f"{name}.hidden", given), candidates)


@follow.register
def _(layer: DSelectKGate, into: Meanings, name: str, given: Labels) -> None:
    selectors = numbered(layer.num_selected)
    # Digits are counted from the last one, by which a number keeps them where numbers get longer.
    digits = tuple(product(selectors, reversed(range(layer.num_digits))))
    for part, made in (("digit", digits), ("selector", selectors)):
        if layer.per_row:
            into.add(f"{name}.{part}_kernel", getattr(layer, f"{part}_kernel"), Axis(given, reads=True), Axis(made))
        into.add(f"{name}.{part}_bias", getattr(layer, f"{part}_bias"), Axis(made))


@follow.register
def _(layer: GateNU, into: Meanings, name: str, given: Labels) -> None:
    gate_nu(layer, into, name, given, numbered(layer.units))


def gate_nu(layer: GateNU, into: Meanings, name: str, given: Labels, scaled: Labels) -> None:
    """Notes a gate that scales what `scaled` stands for."""
    dense(layer.logits, into, f"{name}.logits", follow(layer.hidden, into, f"{name}.hidden", given), scaled)


@follow.register
def _(layer: StarDense, into: Meanings, name: str, given: tuple[Labels, Labels]) -> Labels:
    read, scenarios = given
    made = numbered(layer.units)
    into.add(f"{name}.kernel", layer.kernel, Axis(read, reads=True), Axis(made))
    # A factor on a kernel that is 0 where it reads a new input: it keeps its own start, 1.
    into.add(f"{name}.kernels", layer.kernels, Axis(scenarios, of_ids=True), Axis(read), Axis(made))
    if layer.use_bias:
        into.add(f"{name}.bias", layer.bias, Axis(made))
        into.add(f"{name}.biases", layer.biases, Axis(scenarios, of_ids=True), Axis(made))
    return made


@follow.register
def _(layer: PartitionedNormalization, into: Meanings, name: str, given: tuple[Labels, Labels]) -> Labels:
    read, scenarios = given
    for part in ("gamma", "beta"):
        into.add(f"{name}.{part}", getattr(layer, part), Axis(read))
    for part in ("gammas", "betas", "moving_mean", "moving_variance", "moving_rows"):
        into.add(f"{name}.{part}", getattr(layer, part), Axis(scenarios, of_ids=True), Axis(read))
    return read


@follow.register
def _(layer: FeatureGate, into: Meanings, name: str, given: Labels) -> Labels:
    pairs, rank = numbered(layer.num), numbered(layer.up.shape[1])
    into.add(f"{name}.down", layer.down, Axis(given, reads=True), Axis(tuple(product(pairs, rank))))
    into.add(f"{name}.up", layer.up, Axis(pairs), Axis(rank), Axis(given))
    if layer.choice is not None:
        into.add(f"{name}.choice", layer.choice, Axis(given, reads=True), Axis(pairs))
    return given


@follow.register
def _(layer: NormalizedExperts, into: Meanings, name: str, given: Labels) -> Labels:
    made = numbered(layer.units)
    stacked = tuple(product(numbered(layer.num), made))
    follow(layer.norm, into, f"{name}.norm", dense(layer.dense, into, f"{name}.dense", given, stacked))
    return made


@follow.register
def _(layer: SubnetworkRouting, into: Meanings, name: str, given: tuple[Labels, Labels, Labels]) -> Labels:
    below, read, here = given
    into.add(f"{name}.log_alpha", layer.log_alpha, Axis(here), Axis(below))
    if layer.units is None:
        return read
    made = numbered(layer.units)
    wide = tuple(product(below, read)) if layer.connection == "transform" else read
    into.add(f"{name}.kernel", layer.kernel, Axis(wide, reads=True), Axis(tuple(product(here, made))))
    into.add(f"{name}.bias", layer.bias, Axis(here), Axis(made))
    return made


@follow.register
def _(layer: CGCLayer, into: Meanings, name: str, given: Mapping[str, Labels]) -> dict[str, Labels]:
    for source, experts in layer.experts.items():
        follow(experts, into, f"{name}.experts[{source}]", given[source])
    for reader, mixer in layer.mixers.items():
        candidates = (within(source, numbered(layer.experts[source].num)) for source in layer.candidates(reader))
        gate(mixer, into, f"{name}.gates[{reader}]", _selector(layer, reader, given), tuple(chain(*candidates)))
    readers = (*layer.tasks, SHARED) if layer.update_shared else layer.tasks
    return dict.fromkeys(readers, numbered(layer.units[-1]))


@follow.register
def _(layer: AdaTTLayer, into: Meanings, name: str, given: Mapping[str, Labels]) -> dict[str, Labels]:
    for stream, native in layer.native.items():
        into.add(f"{name}.native[{stream}]", native, Axis(numbered(layer.experts[stream].num)))
    made: dict[str, Labels] = follow.dispatch(CGCLayer)(layer, into, name, given)
    return made


def _selector(layer: CGCLayer, reader: str, given: Mapping[str, Labels]) -> Labels:
    """What a gate reads; of a sum of two streams, entry by entry, the first one's labels."""
    if reader == SHARED or layer.gate_input != "concat":
        return given[reader]
    return (*within("own", given[reader]), *within(SHARED, given[SHARED]))


@follow.register
def _(layer: InformationTransfer, into: Meanings, name: str, given: Mapping[str, Labels]) -> dict[str, Labels]:
    later = layer.chain[1:]
    made = {**given, **{task: numbered(len(given[task])) for task in later}}
    for place, task in enumerate(later):
        follow(layer.transfers[place], into, f"{name}.transfers[{task}]", given[layer.chain[place]])
        if not layer.share_attention or place == 0:
            parts = tuple(product(("query", "key", "value"), numbered(len(given[task]))))
            owner = "all" if layer.share_attention else task
            dense(layer.attentions[place], into, f"{name}.attentions[{owner}]", given[task], parts)
    return made


@follow.register
def _(layer: JoinStreams, into: Meanings, name: str, given: list[Mapping[str, Labels]]) -> dict[str, Labels]:
    trunk, bottom = given
    joined = {}
    for task, labels in trunk.items():
        if task != SHARED:
            beside = [within(kind, bottom[stream]) for kind, stream in _beside(layer, task)]
            joined[task] = (*within("trunk", labels), *chain(*beside))
    return joined


def _beside(layer: JoinStreams, task: str) -> list[tuple[str, str]]:
    return ([("own", task)] if layer.own else []) + ([(SHARED, SHARED)] if layer.shared else [])

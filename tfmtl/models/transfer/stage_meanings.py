"""What the weights of bottoms, trunks and heads stand for: `follow` for the stages."""

from collections.abc import Mapping
from itertools import chain, product
from typing import Any

from tfmtl.layers.activation_unit import ActivationUnit
from tfmtl.layers.conditional_transformer import ConditionalTransformer
from tfmtl.layers.field_embedding import FieldEmbedding
from tfmtl.layers.field_interactions import FieldInteractions
from tfmtl.layers.hyper_sequence_extractor import HyperSequenceExtractor
from tfmtl.layers.stem_embedding import STEMEmbedding
from tfmtl.layers.task_senet import TaskSENet
from tfmtl.models.transfer.layer_meanings import dense, follow, gate, gate_nu
from tfmtl.models.transfer.meanings import Axis, Labels, Meanings, numbered, within
from tfmtl.schema import Categorical, Numeric
from tfmtl.schema import Sequence as History
from tfmtl.stages.bottoms import DTRNRepresentation, SharedBottomRepresentation, STEMRepresentation
from tfmtl.stages.bottoms.side_streams import SideStreams
from tfmtl.stages.heads import AITMHead, DBMTLHead, ESCM2Head, ESMMHead, PPNet, STARHead, Towers
from tfmtl.stages.trunks import SNR, CrossStitch, HierarchicalTaskTree, HoME, MLMMoE, OMoE, PassThrough, Sluice
from tfmtl.stages.trunks.levels import Levels
from tfmtl.stages.trunks.static_sharing import StaticSharing
from tfmtl.stages.trunks.stitched_towers import StitchedTowers
from tfmtl.typing import PRIOR, SCENARIO, SHARED

Streams = Mapping[str, Labels]


def vectors_of(embed: FieldEmbedding) -> tuple[str | None, ...]:
    """Whose vectors lie side by side in a row of a table: the streams', or the only one."""
    return embed.streams if isinstance(embed, STEMEmbedding) else (None,)


def fields_of(embed: FieldEmbedding, into: Meanings, name: str) -> dict[str, Labels]:
    """What the numbers of each field stand for, histories pooled; notes the maps of numbers. Tables go by ids."""
    fields: dict[str, Labels] = {}
    for feature in embed.features:
        if isinstance(feature, Categorical):
            fields[feature.name] = within(feature.name, numbered(feature.dim))
        elif isinstance(feature, History):
            fields.update({feature.column(f): within(feature.column(f), numbered(f.dim)) for f in feature.fields})
        elif isinstance(feature, Numeric):
            numbers: Labels = tuple(product(("value", "missing"), numbered(feature.size)))[: feature.width]
            if feature.dim:
                copies = tuple(product(vectors_of(embed), numbered(feature.dim)))
                dense(embed.projections[feature.name], into, f"{name}.projections[{feature.name}]", numbers, copies)
                numbers = numbered(feature.dim)
            fields[feature.name] = within(feature.name, numbers)
    for feature in embed.features:
        if isinstance(feature, History) and embed.units(feature):
            events = tuple(chain(*(fields[column] for column in feature.id_columns)))
            target = tuple(chain(*(fields[other] for other in feature.target)))
            for stream, unit in zip(vectors_of(embed), embed.units(feature), strict=True):
                _activation_unit(unit, into, f"{name}.attention[{feature.name}][{stream}]", events, target)
    return fields


def _activation_unit(unit: ActivationUnit, into: Meanings, name: str, events: Labels, target: Labels) -> None:
    made = dense(unit.event, into, f"{name}.event", events)
    dense(unit.target, into, f"{name}.target", target, made)
    dense(unit.product, into, f"{name}.product", events, made)
    for depth, activation in enumerate(unit.activations):
        if depth:
            made = dense(unit.hidden[depth - 1], into, f"{name}.hidden[{depth}]", made)
        for part in ("alpha", "moving_mean", "moving_variance", "moving_rows"):
            weight = getattr(activation, part, None)
            if weight is not None:
                ones = [Axis(numbered(size)) for size in weight.shape[:-1]]
                into.add(f"{name}.activations[{depth}].{part}", weight, *ones, Axis(made))
    dense(unit.score, into, f"{name}.score", made)


def _side_streams(side: SideStreams, fields: Mapping[str, Labels]) -> dict[str, Labels]:
    """What the side streams of a bottom stand for; scenarios by their row, which `model_meanings` names by their id."""
    found: dict[str, Labels] = {}
    if side.priors:
        found[PRIOR] = tuple(chain(*(fields[name] for name in side.priors)))
    if side.scenario is not None:
        found[SCENARIO] = numbered(side.num_scenarios)
    return found


@follow.register
def _(layer: SharedBottomRepresentation, into: Meanings, name: str, given: Any) -> dict[str, Labels]:
    fields = fields_of(layer.embed, into, f"{name}.embed")
    joined = tuple(chain(*fields.values()))
    if layer.epnet is not None:
        domain = tuple(chain(*(fields[field] for field in layer.domain)))
        gate_nu(layer.epnet.gate, into, f"{name}.epnet", (*within("domain", domain), *joined), joined)
    if layer.interactions is not None:
        read = tuple(chain(*(fields[field] for field in layer.embedded)))
        joined = (*joined, *_interactions(layer.interactions, into, f"{name}.interactions", read))
    return {**dict.fromkeys(layer.main_streams, joined), **_side_streams(layer.side, fields)}


@follow.register
def _(layer: STEMRepresentation, into: Meanings, name: str, given: Any) -> dict[str, Labels]:
    fields = fields_of(layer.embed, into, f"{name}.embed")
    joined = tuple(chain(*fields.values()))
    read = tuple(chain(*(fields[field] for field in layer.embedded)))
    return {**_with_interactions(layer, into, name, read, joined), **_side_streams(layer.side, fields)}


@follow.register
def _(layer: DTRNRepresentation, into: Meanings, name: str, given: Any) -> dict[str, Labels]:
    fields = fields_of(layer.embed, into, f"{name}.embed")
    for history in layer.behaviors:
        fields[history.name] = tuple(chain(*(fields[column] for column in history.id_columns)))
    made = numbered(layer.dim)
    for field, projection in layer.projections.items():
        dense(projection, into, f"{name}.projections[{field}]", fields[field], made)
    if layer.target_projection is not None:
        target = tuple(chain(*(fields[field] for field in layer.target)))
        dense(layer.target_projection, into, f"{name}.target_projection", target, made)
    if layer.extract is not None:
        follow(layer.extract, into, f"{name}.extract", made)
    names = (*layer.fields, *(history.name for history in layer.behaviors))
    grid = tuple(product(names, made))
    if layer.refiner is not None:
        _senet(layer.refiner, into, f"{name}.refine", names, grid)
    return {**_with_interactions(layer, into, name, grid, grid), **_side_streams(layer.side, fields)}


def _with_interactions(layer: Any, into: Meanings, name: str, read: Labels, joined: Labels) -> dict[str, Labels]:
    """What the streams of a bottom stand for of which several have layers over their fields, all alike."""
    for stream, each in layer.interactions.items():
        made = _interactions(each, into, f"{name}.interactions[{stream}]", read)
    return dict.fromkeys(layer.main_streams, (*joined, *made) if layer.interactions else joined)


def _interactions(layer: FieldInteractions, into: Meanings, name: str, read: Labels) -> Labels:
    """Notes layers of other libraries, whose numbers have counterparts where the fields have."""
    into.add_unknown(name, layer, read)
    return within(("interactions", read), numbered(sum(layer.widths)))


def _senet(layer: TaskSENet, into: Meanings, name: str, names: Labels, grid: Labels) -> None:
    for task, (squeeze, excite) in layer.networks.items():
        owner, hidden = "all" if layer.share_across_tasks else task, numbered(squeeze.shape[-1])
        read = names if layer.squeeze == "mean" else grid
        written = names if layer.granularity == "field" else grid
        into.add(f"{name}.squeeze[{owner}]", squeeze, Axis(read, reads=True), Axis(hidden))
        into.add(f"{name}.excite[{owner}]", excite, Axis(hidden, reads=True), Axis(written))


@follow.register
def _(layer: HyperSequenceExtractor, into: Meanings, name: str, given: Labels) -> None:
    shared = layer.share_transformer_across_behaviors
    for behavior, transformer in zip(["all"] if shared else layer.behaviors, layer.transformers, strict=True):
        follow(transformer, into, f"{name}.transformers[{behavior}]", given)
    into.add(f"{name}.positions", layer.positions, Axis(numbered(layer.max_length)), Axis(given))
    hyper, names = layer.hypernetwork, {"task": layer.tasks, "behavior": layer.behaviors}
    for kind, embedding in hyper.embeddings.items():
        condition = numbered(hyper.condition_dim)
        into.add(f"{name}.hypernetwork.{kind}", embedding, Axis(tuple(names[kind])), Axis(condition))
    if hyper.embeddings:
        read = tuple(chain(*(within(kind, numbered(hyper.condition_dim)) for kind in hyper.embeddings)))
        hidden = follow(hyper.hidden, into, f"{name}.hypernetwork.hidden", read)
        follow(hyper.emit, into, f"{name}.hypernetwork.emit", hidden)
    else:
        into.add(f"{name}.hypernetwork.plain", hyper.plain, *(Axis(numbered(size)) for size in hyper.plain.shape))
    if layer.pooling == "target":
        dense(layer.query, into, f"{name}.query", given)


@follow.register
def _(layer: ConditionalTransformer, into: Meanings, name: str, given: Labels) -> Labels:
    for block, attention in enumerate(layer.attentions):
        dense(attention.project, into, f"{name}.attentions[{block}].project", given)
        dense(attention.merge, into, f"{name}.attentions[{block}].merge", given)
        if attention.use_bias:
            into.add(f"{name}.attentions[{block}].biases", attention.biases, Axis(numbered(2)), Axis(given))
        hidden = follow(layer.expand[block], into, f"{name}.expand[{block}]", given)
        follow(layer.contract[block], into, f"{name}.contract[{block}]", hidden)
    return given


@follow.register
def _(layer: Levels, into: Meanings, name: str, given: Streams) -> Streams:
    for level, cell in enumerate(layer.levels):
        given = follow(cell, into, f"{name}.levels[{level}]", given)
    return given


@follow.register
def _(layer: OMoE, into: Meanings, name: str, given: Streams) -> dict[str, Labels]:
    made: Labels = follow(layer.experts, into, f"{name}.experts", given[SHARED])
    gate(layer.gate, into, f"{name}.gate", given[SHARED], numbered(layer.experts.num))
    return dict.fromkeys(layer.tasks, made)


@follow.register
def _(layer: MLMMoE, into: Meanings, name: str, given: Streams) -> dict[str, Labels]:
    experts = numbered(layer.num_experts)
    made: Labels = follow(layer.first, into, f"{name}.first", given[SHARED])
    for level, (choice, kernel, bias) in enumerate(zip(layer.choices, layer.kernels, layer.biases, strict=True), 1):
        pairs = tuple(product(experts, experts))
        into.add(f"{name}.choices[{level}]", choice, Axis(given[SHARED], reads=True), Axis(pairs))
        read, made = made, numbered(kernel.shape[-1])
        into.add(f"{name}.kernels[{level}]", kernel, Axis(experts), Axis(read, reads=True), Axis(made))
        into.add(f"{name}.biases[{level}]", bias, Axis(experts), Axis(made))
    for task, mixer in layer.mixers.items():
        gate(mixer, into, f"{name}.gates[{task}]", given[task], experts)
    return dict.fromkeys(layer.tasks, made)


@follow.register
def _(layer: StitchedTowers, into: Meanings, name: str, given: Streams) -> dict[str, Labels]:
    parts = layer.num_subspaces if isinstance(layer, Sluice) else 1
    towers = {task: _beside_shared(given, task) if layer.reads_shared else given[task] for task in layer.tasks}
    for depth, units in enumerate(layer.units):
        made = tuple(product(numbered(parts), numbered(units // parts)))
        for task in layer.tasks:
            dense(layer.dense[f"{task}_{depth}"], into, f"{name}.dense[{task}][{depth}]", towers[task], made)
        towers = dict.fromkeys(layer.tasks, made)
        mixed = tuple(product(layer.tasks, numbered(parts)))
        axes = [Axis(mixed), Axis(mixed, reads=True)]
        if isinstance(layer, CrossStitch) and layer.granularity == "channel":
            axes.append(Axis(made))
        into.add(f"{name}.stitches[{depth}]", layer.stitches[depth], *axes)
    if isinstance(layer, Sluice) and layer.layer_weights is not None:
        depths = numbered(len(layer.units))
        into.add(f"{name}.layer_weights", layer.layer_weights, Axis(depths), Axis(tuple(layer.tasks)))
    return towers


def _beside_shared(given: Streams, task: str) -> Labels:
    return (*within("own", given[task]), *within(SHARED, given[SHARED]))


@follow.register
def _(layer: StaticSharing, into: Meanings, name: str, given: Streams) -> dict[str, Labels]:
    made = {s: follow(network, into, f"{name}.networks[{s}]", given[s]) for s, network in layer.networks.items()}
    if layer.fusion != "concat":
        return {task: made[task] for task in layer.tasks}
    sources = {task: [("own", task), *((s, s) for s in layer.sources(task)[1:])] for task in layer.tasks}
    return {task: tuple(chain(*(within(kind, made[s]) for kind, s in found))) for task, found in sources.items()}


@follow.register
def _(layer: HierarchicalTaskTree, into: Meanings, name: str, given: Streams) -> dict[str, Labels]:
    made: dict[str, Streams] = {}
    leaves: dict[str, list[Labels]] = {task: [] for task in layer.tasks}
    for node in layer.nodes:
        read = given[SHARED] if node.reads is None else made[node.reads[0]][node.reads[1]]
        switcher = layer.switchers[node.name]
        made[node.name] = follow(
            switcher, into, f"{name}.nodes[{node.name}]", dict.fromkeys((*node.branches, SHARED), read)
        )
        if node.is_last:
            for task in node.branches:
                leaves[task].append(within(len(leaves[task]), made[node.name][task]))
    if layer.merge == "concat":
        return {task: tuple(chain(*found)) for task, found in leaves.items()}
    return {task: numbered(len(found[0])) for task, found in leaves.items()}


@follow.register
def _(layer: PassThrough, into: Meanings, name: str, given: Streams) -> dict[str, Labels]:
    return {task: given[task] for task in layer.tasks}


@follow.register
def _(layer: HoME, into: Meanings, name: str, given: Streams) -> dict[str, Labels]:
    groups = tuple(dict.fromkeys(layer.group_of.values()))
    read = dict.fromkeys((SHARED, *groups), given[SHARED])
    mixed = _home_level(layer, into, name, "meta", read, read)
    of_tasks = {task: mixed[group] for task, group in layer.group_of.items()}
    queries = {task: (*within("group", z), *within(SHARED, mixed[SHARED])) for task, z in of_tasks.items()}
    return _home_level(layer, into, name, "last", {**mixed, **of_tasks}, queries)


def _home_level(
    layer: HoME, into: Meanings, name: str, level: str, read: Streams, queries: Streams
) -> dict[str, Labels]:
    made: dict[str, Labels] = {}
    for owner, given in read.items():
        place = f"{level}_{owner}"
        if layer.num_feature_gates:
            follow(layer.features[place], into, f"{name}.features[{place}]", given)
        made[owner] = follow(layer.experts[place], into, f"{name}.experts[{place}]", given)
    for reader, query in queries.items():
        place = f"{level}_{reader}"
        owned = {owner: numbered(layer.experts[f"{level}_{owner}"].num) for owner in layer.candidates(level, reader)}
        candidates = tuple(chain(*(within(owner, experts) for owner, experts in owned.items())))
        gate(layer.mixers[place], into, f"{name}.gates[{place}]", query, candidates)
        if layer.self_gates:
            dense(layer.selves[place].logits, into, f"{name}.selves[{place}]", query, owned[reader])
    return {reader: made[reader] for reader in queries}


@follow.register
def _(layer: SNR, into: Meanings, name: str, given: Streams) -> dict[str, Labels]:
    subnetworks = numbered(layer.num_subnetworks)
    made: Labels = follow(layer.first, into, f"{name}.first", given[SHARED])
    for level, routing in enumerate(layer.levels, 1):
        made = follow(routing, into, f"{name}.levels[{level}]", (subnetworks, made, subnetworks))
    made = follow(layer.to_tasks, into, f"{name}.to_tasks", (subnetworks, made, tuple(layer.tasks)))
    return dict.fromkeys(layer.tasks, made)


@follow.register
def _(layer: Towers, into: Meanings, name: str, given: Streams) -> None:
    for task, tower in layer.towers.items():
        follow(tower, into, f"{name}.towers[{task}]", given[task])


@follow.register
def _(layer: ESMMHead, into: Meanings, name: str, given: Streams) -> None:
    follow(layer.towers, into, name, given)


@follow.register
def _(layer: ESCM2Head, into: Meanings, name: str, given: Streams) -> None:
    follow(layer.towers, into, name, given)
    for step, imputer in layer.imputers.items():
        follow(imputer, into, f"{name}.imputers[{step}]", given[step])


@follow.register
def _(layer: DBMTLHead, into: Meanings, name: str, given: Streams) -> None:
    found: dict[str, Labels] = {}
    for task in layer.order:
        own = within("own", follow(layer.hidden[task], into, f"{name}.hidden[{task}]", given[task]))
        read = (*own, *chain(*(within(parent, found[parent]) for parent in layer.parents[task])))
        found[task] = follow(layer.relations[task], into, f"{name}.relations[{task}]", read)
        follow(layer.outputs[task], into, f"{name}.outputs[{task}]", found[task])


@follow.register
def _(layer: AITMHead, into: Meanings, name: str, given: Streams) -> None:
    hidden = {task: follow(mlp, into, f"{name}.hidden[{task}]", given[task]) for task, mlp in layer.hidden.items()}
    handed = follow(layer.transfer, into, f"{name}.transfer", hidden)
    for task, output in layer.outputs.items():
        follow(output, into, f"{name}.outputs[{task}]", handed[task])


@follow.register
def _(layer: PPNet, into: Meanings, name: str, given: Streams) -> None:
    for task, output in layer.outputs.items():
        read = (*within(PRIOR, given[PRIOR]), *within("own", given[task]))
        labels = given[task]
        for depth, (hidden, scale) in enumerate(layer.layers_of(task)):
            labels = follow(hidden, into, f"{name}.dense[{task}][{depth}]", labels)
            gate_nu(scale, into, f"{name}.gates[{task}][{depth}]", read, labels)
        follow(output, into, f"{name}.outputs[{task}]", labels)


@follow.register
def _(layer: STARHead, into: Meanings, name: str, given: Streams) -> None:
    scenarios, vector = given[SCENARIO], numbered(layer.scenario_dim)
    if layer.auxiliaries:
        into.add(f"{name}.scenarios", layer.scenarios, Axis(scenarios, of_ids=True), Axis(vector))
    for task, output in layer.outputs.items():
        labels = given[task]
        if task in layer.norms:
            follow(layer.norms[task], into, f"{name}.norms[{task}]", (labels, scenarios))
        for depth, hidden in enumerate(layer.layers_of(task)):
            labels = follow(hidden, into, f"{name}.dense[{task}][{depth}]", (labels, scenarios))
        into.add(f"{name}.last[{task}]", layer.last[task], Axis(scenarios, of_ids=True), Axis(labels))
        if task in layer.auxiliaries:
            beside = (*within("scenario", vector), *within("own", given[task]))
            made = follow(layer.auxiliaries[task], into, f"{name}.auxiliaries[{task}]", beside)
            labels = (*within("star", labels), *within("auxiliary", made))
        follow(output, into, f"{name}.outputs[{task}]", labels)

"""STEM-Net and the ablations of its embeddings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.presets.assembling import assemble
from tfmtl.schema import Categorical, Feature, Numeric
from tfmtl.schema.schema import Schema
from tfmtl.stages.bottoms import SharedBottomRepresentation, STEMRepresentation
from tfmtl.stages.heads import Units
from tfmtl.stages.trunks.ple import PLE

EXPERT = (512, 512, 512)
GATE = (128, 64)
TOWER = (128, 64)


def stem_net(
    schema: Schema,
    *,
    units: int | Sequence[int] = EXPERT,
    num_layers: int = 1,
    num_task_experts: int = 1,
    num_shared_experts: int = 8,
    gate_units: Sequence[int] = GATE,
    tower_units: Units = TOWER,
    towers: Mapping[str, Any] | None = None,
    embeddings_initializer: Any = None,
    embeddings_regularizer: Any = None,
    **options: Any,
) -> keras.Model:
    """Shared and task-specific embeddings under all-forward task-specific-backward gates.

    Sizes are those of the authors' TikTok configuration. `options` of `CGCLayer` vary it: `gate_input="task"` is the
    paper's figure where its code sums, `cross_task="full"` lets gradients pass between tasks, and over several layers
    `shared_stream_stop_specific=True` closes the leak that the code leaves open.

    Args:
        schema: adapted.
        units: layers of an expert.
        num_layers: gate layers; the authors use 1.
        num_task_experts, num_shared_experts: experts of a task, and of the shared stream.
        gate_units: hidden layers of a gate.
        tower_units: hidden layers of a tower.
        towers: further options of `Towers`.
        embeddings_initializer: of the tables; None takes the bottom's own, here the authors' N(0, 1e-4).
        embeddings_regularizer: of the tables, at every step as a whole; the authors use `keras.regularizers.L2(5e-7)`.
        **options: of `CGCLayer`; `name` of the model.

    Reference:
        Su et al., "STEM", AAAI 2024, arXiv:2308.13537, and its code.
    """
    return assemble(
        schema,
        _tables_of_streams(schema),
        _layers,
        "stem_net",
        units=units,
        num_layers=num_layers,
        tower_units=tower_units,
        towers=towers,
        embeddings_initializer=embeddings_initializer,
        embeddings_regularizer=embeddings_regularizer,
        num_task_experts=num_task_experts,
        num_shared_experts=num_shared_experts,
        gate_units=gate_units,
        **{"cross_task": "detached", "gate_input": "sum", **options},
    )


def stem_single_table(schema: Schema, **options: Any) -> keras.Model:
    """STEM-Net's capacity without its idea: one table, T + 1 times as wide, which every stream reads.

    `options` as in `stem_net`; gates and gradients are PLE's, since there is nothing of a task's own to protect.
    """
    times = len(schema.tasks) + 1
    wide = tuple(_wider(feature, times) for feature in schema.features)
    bottom = partial(SharedBottomRepresentation, wide, schema.task_names)
    return _variant(schema, bottom, "stem_single_table", {"cross_task": "none", "gate_input": "task", **options})


def me_ple(schema: Schema, **options: Any) -> keras.Model:
    """PLE over several embeddings: task experts read the task's table, shared experts the shared one.

    The paper names it ME-PLE and publishes no design; gates read their own stream. `options` as in `stem_net`.
    """
    bottom = _tables_of_streams(schema)
    return _variant(schema, bottom, "me_ple", {"cross_task": "none", "gate_input": "task", **options})


def me_mmoe(schema: Schema, **options: Any) -> keras.Model:
    """MMoE over several embeddings: as many experts read each table, every task mixes all of them.

    The paper names it ME-MMoE and publishes no design; gates read the sum of the task's and the shared stream, and
    gradients pass everywhere. `options` as in `stem_net`, with 2 experts a task and 2 shared ones by default.
    """
    bottom = _tables_of_streams(schema)
    settings = {"cross_task": "full", "gate_input": "sum", "num_task_experts": 2, "num_shared_experts": 2, **options}
    return _variant(schema, bottom, "me_mmoe", settings)


def _variant(schema: Schema, bottom: Callable[..., Any], name: str, options: dict[str, Any]) -> keras.Model:
    """A model with every option of `stem_net`, and its defaults where `options` name none."""
    return assemble(schema, bottom, _layers, name, **{**(stem_net.__kwdefaults__ or {}), **options})


def _layers(units: int | Sequence[int], num_layers: int, **options: Any) -> PLE:
    return PLE([units] * num_layers, **options)


def _tables_of_streams(schema: Schema) -> Callable[..., Any]:
    return partial(STEMRepresentation, schema.features, schema.task_names)


def _wider(feature: Feature, times: int) -> Feature:
    if isinstance(feature, Categorical):
        return replace(feature, dim=times * feature.dim)
    if isinstance(feature, Numeric):
        return replace(feature, dim=times * feature.dim) if feature.dim else feature
    return replace(feature, fields=tuple(replace(field, dim=times * field.dim) for field in feature.fields))

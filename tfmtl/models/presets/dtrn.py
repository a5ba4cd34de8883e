"""DTRN: a bottom of its own for every task."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.build import build
from tfmtl.schema.schema import Schema
from tfmtl.stages.bottoms import DTRNRepresentation
from tfmtl.stages.heads import Towers, Units
from tfmtl.stages.trunks import SingleTask


def dtrn(
    schema: Schema,
    *,
    target: str | Sequence[str] | None = None,
    trunk: Any = None,
    units: Sequence[int] = (256, 128),
    tower_units: Units = (64,),
    towers: Mapping[str, Any] | None = None,
    name: str = "dtrn",
    **options: Any,
) -> keras.Model:
    """Deep task-specific bottom representation network. Liu et al., CIKM 2023, arXiv:2308.05996.

    Args:
        schema: adapted, with a `Sequence` for each behaviour.
        target: the feature, or features, that describe the item to score.
        trunk: what lies on the bottom, by default a network for each task, the plain DTRN; the paper also puts MMoE and
            PLE there.
        units: layers of a task's network, where no trunk is given.
        tower_units: hidden layers of a tower.
        towers: further options of `Towers`.
        name: of the model.
        **options: of `DTRNRepresentation`.
    """
    bottom = DTRNRepresentation(schema.features, schema.task_names, target=target, **options)
    head = Towers(schema.tasks, units=tower_units, **(towers or {}))
    return build(schema, bottom, SingleTask(units) if trunk is None else trunk, head, name=name)

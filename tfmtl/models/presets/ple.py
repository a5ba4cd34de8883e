"""PLE and the models that it is measured against."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.trunk.cross_stitch import CrossStitch
from tfmtl.layers.trunk.ml_mmoe import MLMMoE
from tfmtl.layers.trunk.omoe import OMoE
from tfmtl.layers.trunk.ple import PLE
from tfmtl.layers.trunk.sluice import Sluice
from tfmtl.models.bottoms import SharedBottomRepresentation
from tfmtl.models.build import build
from tfmtl.models.heads import Towers, Units
from tfmtl.models.trunks import CGC, AsymmetricSharing, CustomizedSharing, MMoE, SharedBottom, SingleTask
from tfmtl.spec.schema import Schema

Levels = Sequence[int | Sequence[int]]

PLE_DEPTHS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "paper_depth_matched": ((256, 128), (64,)),
    "paper_full_tower": ((256, 128), (256, 128, 64)),
}
"""The paper's MLP of [256, 128, 64] can be read in two ways: experts and tower together are as deep as a single-task
model's, or the tower alone is. `{reading: (units of the levels, units of a tower)}`."""


def single_task(
    schema: Schema, *, units: Sequence[int] = (256, 128), tower_units: Units = (64,), **options: Any
) -> keras.Model:
    """One network a task over one set of embeddings. For a twin that shares nothing, pass `schema.with_tasks([name])`."""
    return _shared_bottom_model(schema, SingleTask(units, **options), tower_units, "single_task")


def shared_bottom(
    schema: Schema, *, units: Sequence[int] = (256, 128), tower_units: Units = (64,), **options: Any
) -> keras.Model:
    """Hard parameter sharing: one MLP for all tasks, then a tower each."""
    return _shared_bottom_model(schema, SharedBottom(units, **options), tower_units, "shared_bottom")


def mmoe(
    schema: Schema,
    *,
    units: int | Sequence[int] = (256, 128),
    num_experts: int = 6,
    tower_units: Units = (64,),
    **options: Any,
) -> keras.Model:
    """Multi-gate mixture-of-experts. Ma et al., KDD 2018."""
    return _shared_bottom_model(schema, MMoE(units, num_experts=num_experts, **options), tower_units, "mmoe")


def omoe(
    schema: Schema,
    *,
    units: int | Sequence[int] = (256, 128),
    num_experts: int = 6,
    tower_units: Units = (64,),
    **options: Any,
) -> keras.Model:
    """Mixture-of-experts with one gate for all tasks. Ma et al., KDD 2018."""
    return _shared_bottom_model(schema, OMoE(units, num_experts=num_experts, **options), tower_units, "omoe")


def ml_mmoe(
    schema: Schema,
    *,
    units: Sequence[int] = (256, 128),
    num_experts: int = 6,
    tower_units: Units = (64,),
    **options: Any,
) -> keras.Model:
    """MMoE of several levels whose gates read the raw input. Tang et al., RecSys 2020, section 5.1.2."""
    return _shared_bottom_model(schema, MLMMoE(units, num_experts=num_experts, **options), tower_units, "ml_mmoe")


def customized_sharing(
    schema: Schema, *, units: Sequence[int] = (256, 128), tower_units: Units = (64,), **options: Any
) -> keras.Model:
    """A network of its own for every task beside a shared one, without gates. Tang et al., RecSys 2020."""
    return _shared_bottom_model(schema, CustomizedSharing(units, **options), tower_units, "customized_sharing")


def asymmetric_sharing(
    schema: Schema,
    donors: Mapping[str, Sequence[str]],
    *,
    units: Sequence[int] = (256, 128),
    tower_units: Units = (64,),
    **options: Any,
) -> keras.Model:
    """A network for every task; `donors` says whose a task reads besides its own. Tang et al., RecSys 2020."""
    trunk = AsymmetricSharing(units, donors=donors, **options)
    return _shared_bottom_model(schema, trunk, tower_units, "asymmetric_sharing")


def cross_stitch(
    schema: Schema, *, units: Sequence[int] = (256, 128), tower_units: Units = (64,), **options: Any
) -> keras.Model:
    """A network for every task, their layers mixed by learned scalars. Misra et al., CVPR 2016."""
    return _shared_bottom_model(schema, CrossStitch(units, **options), tower_units, "cross_stitch")


def sluice(
    schema: Schema, *, units: Sequence[int] = (256, 256), tower_units: Units = (64,), **options: Any
) -> keras.Model:
    """Cross-stitch over sub-spaces, with learned mixtures of layers. Ruder et al., AAAI 2019."""
    return _shared_bottom_model(schema, Sluice(units, **options), tower_units, "sluice")


def cgc(
    schema: Schema, *, units: int | Sequence[int] = (256, 128), tower_units: Units = (64,), **options: Any
) -> keras.Model:
    """Customized gate control, PLE of one level. `options` of `CGCLayer`. Tang et al., RecSys 2020."""
    return _shared_bottom_model(schema, CGC(units, **options), tower_units, "cgc")


def ple(
    schema: Schema,
    *,
    depth: str = "paper_depth_matched",
    units: Levels | None = None,
    tower_units: Units | None = None,
    **options: Any,
) -> keras.Model:
    """Progressive layered extraction. Tang et al., RecSys 2020.

    Args:
        schema: adapted.
        depth: a reading of the paper's sizes, a key of `PLE_DEPTHS`.
        units: one entry a level, instead of the reading's.
        tower_units: hidden layers of a tower, instead of the reading's.
        **options: of `PLE`, such as `num_task_experts` and `num_shared_experts`.

    Raises:
        ValueError: an unknown reading, or what `PLE` refuses.
    """
    if depth not in PLE_DEPTHS:
        raise ValueError(f"`depth` must be one of {sorted(PLE_DEPTHS)}. Received: depth={depth!r}")
    levels, tower = PLE_DEPTHS[depth]
    trunk = PLE(levels if units is None else units, **options)
    return _shared_bottom_model(schema, trunk, tower if tower_units is None else tower_units, "ple")


def _shared_bottom_model(schema: Schema, trunk: Any, tower_units: Units, name: str) -> keras.Model:
    bottom = SharedBottomRepresentation(schema.features, schema.task_names)
    return build(schema, bottom, trunk, Towers(schema.tasks, units=tower_units), name=name)

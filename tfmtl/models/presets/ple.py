"""PLE and the models that it is measured against.

By default all have the sizes of Tang et al. (PLE), RecSys 2020, section 5.1.3: an MLP of (256, 128, 64) for every task, experts
of a single layer. So where there is one level of experts (`mmoe`, `omoe`, `cgc`), they are the first layer and the tower is the
other two; where there are two (`ple`, `ml_mmoe`), or networks without gates, the tower is the last (`sluice` mixes its layers, so
they have one width). That experts count as layers is our reading, the first of `PLE_DEPTHS`. The paper gives no number of
experts; here a level has two for each task and two more, whoever reads them. A trunk by itself, which does not know the
tasks, has the 8 of MMoE's paper.

Every preset passes what it does not know on to its trunk, but for four options: `towers`, further options of `Towers` such as
`{"dropout": 0.1, "base_rates": {"buy": 0.003}}`, `embeddings_initializer` and `embeddings_regularizer` of the tables, and `name`
of the model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.models.presets.assembling import over_shared_bottom
from tfmtl.schema.schema import Schema
from tfmtl.stages.heads import Units
from tfmtl.stages.trunks import CGC, AsymmetricSharing, CustomizedSharing, MMoE, SharedBottom, SingleTask
from tfmtl.stages.trunks.cross_stitch import CrossStitch
from tfmtl.stages.trunks.ml_mmoe import MLMMoE
from tfmtl.stages.trunks.omoe import OMoE
from tfmtl.stages.trunks.ple import PLE
from tfmtl.stages.trunks.sluice import Sluice

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
    return over_shared_bottom(schema, SingleTask, "single_task", units=units, tower_units=tower_units, **options)


def shared_bottom(
    schema: Schema, *, units: Sequence[int] = (256, 128), tower_units: Units = (64,), **options: Any
) -> keras.Model:
    """Hard parameter sharing: one MLP for all tasks, then a tower each."""
    return over_shared_bottom(schema, SharedBottom, "shared_bottom", units=units, tower_units=tower_units, **options)


def mmoe(
    schema: Schema,
    *,
    units: int | Sequence[int] = 256,
    num_experts: int | None = None,
    tower_units: Units = (128, 64),
    **options: Any,
) -> keras.Model:
    """Multi-gate mixture-of-experts. Ma et al., KDD 2018.

    Args:
        schema: adapted.
        units: width of an expert, or of its layers.
        num_experts: None takes as many as `cgc` and each level of `ple` have by default.
        tower_units: hidden layers of a tower.
        **options: of `MMoE`; `towers`, `embeddings_initializer` and `embeddings_regularizer` as in `ple`.
    """
    return over_shared_bottom(
        schema, MMoE, "mmoe", units=units, num_experts=_experts(schema, num_experts), tower_units=tower_units, **options
    )


def omoe(
    schema: Schema,
    *,
    units: int | Sequence[int] = 256,
    num_experts: int | None = None,
    tower_units: Units = (128, 64),
    **options: Any,
) -> keras.Model:
    """Mixture-of-experts with one gate for all tasks. Ma et al., KDD 2018. `options` of `OMoE`; others as in `mmoe`."""
    return over_shared_bottom(
        schema, OMoE, "omoe", units=units, num_experts=_experts(schema, num_experts), tower_units=tower_units, **options
    )


def ml_mmoe(
    schema: Schema,
    *,
    units: Sequence[int] = (256, 128),
    num_experts: int | None = None,
    tower_units: Units = (64,),
    **options: Any,
) -> keras.Model:
    """MMoE of several levels whose gates read the raw input. Tang et al., RecSys 2020, section 5.1.2.

    `units` has one entry a level, `num_experts` is of each, `options` are those of `MLMMoE`; others as in `mmoe`.
    """
    num = _experts(schema, num_experts)
    return over_shared_bottom(
        schema, MLMMoE, "ml_mmoe", units=units, num_experts=num, tower_units=tower_units, **options
    )


def customized_sharing(
    schema: Schema, *, units: Sequence[int] = (256, 128), tower_units: Units = (64,), **options: Any
) -> keras.Model:
    """A network of its own for every task beside a shared one, without gates. Tang et al., RecSys 2020."""
    return over_shared_bottom(
        schema, CustomizedSharing, "customized_sharing", units=units, tower_units=tower_units, **options
    )


def asymmetric_sharing(
    schema: Schema,
    donors: Mapping[str, Sequence[str]],
    *,
    units: Sequence[int] = (256, 128),
    tower_units: Units = (64,),
    **options: Any,
) -> keras.Model:
    """A network for every task; `donors` says whose a task reads besides its own. Tang et al., RecSys 2020."""
    return over_shared_bottom(
        schema,
        AsymmetricSharing,
        "asymmetric_sharing",
        donors=donors,
        units=units,
        tower_units=tower_units,
        **options,
    )


def cross_stitch(
    schema: Schema, *, units: Sequence[int] = (256, 128), tower_units: Units = (64,), **options: Any
) -> keras.Model:
    """A network for every task, their layers mixed by learned scalars. Misra et al., CVPR 2016."""
    return over_shared_bottom(schema, CrossStitch, "cross_stitch", units=units, tower_units=tower_units, **options)


def sluice(
    schema: Schema, *, units: Sequence[int] = (256, 256), tower_units: Units = (64,), **options: Any
) -> keras.Model:
    """Cross-stitch over sub-spaces, with learned mixtures of layers. Ruder et al., AAAI 2019."""
    return over_shared_bottom(schema, Sluice, "sluice", units=units, tower_units=tower_units, **options)


def cgc(
    schema: Schema, *, units: int | Sequence[int] = 256, tower_units: Units = (128, 64), **options: Any
) -> keras.Model:
    """Customized gate control, PLE of one level. `options` of `CGCLayer`. Tang et al., RecSys 2020."""
    return over_shared_bottom(schema, CGC, "cgc", units=units, tower_units=tower_units, **options)


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
        **options: of `PLE`, such as `num_task_experts` and `num_shared_experts`; `towers`, further options of `Towers`;
            `embeddings_initializer` and `embeddings_regularizer` of the tables.

    Raises:
        ValueError: an unknown reading, or what `PLE` refuses.
    """
    if depth not in PLE_DEPTHS:
        raise ValueError(f"`depth` must be one of {sorted(PLE_DEPTHS)}. Received: depth={depth!r}")
    levels, tower = PLE_DEPTHS[depth]
    return over_shared_bottom(
        schema,
        PLE,
        "ple",
        units=levels if units is None else units,
        tower_units=tower if tower_units is None else tower_units,
        **options,
    )


def _experts(schema: Schema, num: int | None) -> int:
    return 2 * len(schema.tasks) + 2 if num is None else num

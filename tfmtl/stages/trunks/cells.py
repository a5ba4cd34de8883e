"""Trunks that are one layer with other numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.stages.trunks.static_sharing import StaticSharing


def SingleTask(units: Sequence[int] = (256, 128), *, name: str = "trunk", **options: Any) -> CGCLayer:
    """One MLP of `units` for each task, nothing shared: the twin that a multi-task model is measured against."""
    return _last_level(units, 1, 0, name, options)


def SharedBottom(units: Sequence[int] = (256, 128), *, name: str = "trunk", **options: Any) -> CGCLayer:
    """One MLP of `units` for all tasks (hard parameter sharing)."""
    return _last_level(units, 0, 1, name, options)


def MMoE(units: int | Sequence[int] = 256, *, num_experts: int = 8, name: str = "trunk", **options: Any) -> CGCLayer:
    """Shared experts, one gate a task. Ma et al., KDD 2018."""
    return _last_level(units, 0, num_experts, name, options)


def CGC(
    units: int | Sequence[int] = 256,
    *,
    num_task_experts: int = 2,
    num_shared_experts: int = 2,
    name: str = "trunk",
    **options: Any,
) -> CGCLayer:
    """Task-specific and shared experts, one gate a task: PLE of one level. Tang et al., RecSys 2020."""
    return _last_level(units, num_task_experts, num_shared_experts, name, options)


def _last_level(units: int | Sequence[int], task: int, shared: int, name: str, options: dict[str, Any]) -> CGCLayer:
    return CGCLayer(units, num_task_experts=task, num_shared_experts=shared, update_shared=False, name=name, **options)


def CustomizedSharing(units: Sequence[int] = (256, 128), *, name: str = "trunk", **options: Any) -> StaticSharing:
    """Every task's own network beside a shared one, without gates. Tang et al., RecSys 2020, section 5.1.2."""
    return StaticSharing(units, name=name, **options)


def AsymmetricSharing(
    units: Sequence[int] = (256, 128), *, donors: Mapping[str, Sequence[str]], name: str = "trunk", **options: Any
) -> StaticSharing:
    """A network for each task; chosen tasks also read those of their donors. Tang et al., RecSys 2020, section 5.1.2."""
    return StaticSharing(units, donors=donors, name=name, **options)

"""Bottoms, trunks and heads, which `tfmtl.models.build` composes into a model, and the contract of one's own."""

from tfmtl.stages.bottoms import DTRNRepresentation, SharedBottomRepresentation, STEMRepresentation
from tfmtl.stages.heads import AITMHead, DBMTLHead, ESCM2Head, ESMMHead, Towers
from tfmtl.stages.stage import Bottom, Gated, Head, Trunk
from tfmtl.stages.trunks import (
    CGC,
    PLE,
    AsymmetricSharing,
    CrossStitch,
    CustomizedSharing,
    HierarchicalTaskTree,
    MLMMoE,
    MMoE,
    OMoE,
    SharedBottom,
    SingleTask,
    Sluice,
)

__all__ = [
    "AITMHead",
    "AsymmetricSharing",
    "Bottom",
    "CGC",
    "CrossStitch",
    "CustomizedSharing",
    "DBMTLHead",
    "DTRNRepresentation",
    "ESCM2Head",
    "ESMMHead",
    "Gated",
    "Head",
    "HierarchicalTaskTree",
    "MLMMoE",
    "MMoE",
    "OMoE",
    "PLE",
    "STEMRepresentation",
    "SharedBottom",
    "SharedBottomRepresentation",
    "SingleTask",
    "Sluice",
    "Towers",
    "Trunk",
]

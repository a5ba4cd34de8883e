"""From encoded columns to streams."""

from tfmtl.stages.bottoms.dtrn_representation import DTRNRepresentation
from tfmtl.stages.bottoms.representation import Representation
from tfmtl.stages.bottoms.shared_bottom_representation import SharedBottomRepresentation
from tfmtl.stages.bottoms.stem_representation import STEMRepresentation

__all__ = ["DTRNRepresentation", "Representation", "STEMRepresentation", "SharedBottomRepresentation"]

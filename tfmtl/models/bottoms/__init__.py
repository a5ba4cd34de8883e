"""From encoded columns to streams."""

from tfmtl.models.bottoms.dtrn_representation import DTRNRepresentation
from tfmtl.models.bottoms.representation import Representation
from tfmtl.models.bottoms.shared_bottom_representation import SharedBottomRepresentation
from tfmtl.models.bottoms.stem_representation import STEMRepresentation

__all__ = ["DTRNRepresentation", "Representation", "STEMRepresentation", "SharedBottomRepresentation"]

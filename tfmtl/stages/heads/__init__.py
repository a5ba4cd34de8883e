"""From streams to predictions."""

from tfmtl.stages.heads.aitm_head import AITMHead
from tfmtl.stages.heads.esmm_head import ESMMHead
from tfmtl.stages.heads.towers import Towers, Units

__all__ = ["AITMHead", "ESMMHead", "Towers", "Units"]

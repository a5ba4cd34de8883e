"""From streams to predictions."""

from tfmtl.models.heads.aitm_head import AITMHead
from tfmtl.models.heads.esmm_head import ESMMHead
from tfmtl.models.heads.towers import Towers, Units

__all__ = ["AITMHead", "ESMMHead", "Towers", "Units"]

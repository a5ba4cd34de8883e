"""From streams to predictions."""

from tfmtl.stages.heads.aitm_head import AITMHead
from tfmtl.stages.heads.dbmtl_head import DBMTLHead
from tfmtl.stages.heads.escm2_head import ESCM2Head
from tfmtl.stages.heads.esmm_head import ESMMHead
from tfmtl.stages.heads.ppnet import PPNet
from tfmtl.stages.heads.star_head import STARHead
from tfmtl.stages.heads.towers import Towers, Units

__all__ = [
    "AITMHead",
    "DBMTLHead",
    "ESCM2Head",
    "ESMMHead",
    "PPNet",
    "STARHead",
    "Towers",
    "Units",
]

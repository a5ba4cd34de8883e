"""One paper, one short function, schema in and model out: a recipe of three stages to copy and to change."""

from tfmtl.models.presets.adatt import adatt
from tfmtl.models.presets.aitm import aitm
from tfmtl.models.presets.asymmetric_sharing import asymmetric_sharing
from tfmtl.models.presets.cgc import cgc
from tfmtl.models.presets.cross_stitch import cross_stitch
from tfmtl.models.presets.customized_sharing import customized_sharing
from tfmtl.models.presets.dbmtl import dbmtl
from tfmtl.models.presets.dselect_k import dselect_k
from tfmtl.models.presets.dtrn import dtrn
from tfmtl.models.presets.escm2 import escm2
from tfmtl.models.presets.esmm import esmm
from tfmtl.models.presets.home import home
from tfmtl.models.presets.me_mmoe import me_mmoe
from tfmtl.models.presets.me_ple import me_ple
from tfmtl.models.presets.mfh import mfh
from tfmtl.models.presets.ml_mmoe import ml_mmoe
from tfmtl.models.presets.mmoe import mmoe
from tfmtl.models.presets.omoe import omoe
from tfmtl.models.presets.pepnet import pepnet
from tfmtl.models.presets.ple import ple
from tfmtl.models.presets.shared_bottom import shared_bottom
from tfmtl.models.presets.single_task import single_task
from tfmtl.models.presets.sizes import PLE_DEPTHS
from tfmtl.models.presets.sluice import sluice
from tfmtl.models.presets.snr import snr
from tfmtl.models.presets.star import star
from tfmtl.models.presets.stem_net import stem_net
from tfmtl.models.presets.stem_single_table import stem_single_table

__all__ = [
    "PLE_DEPTHS",
    "adatt",
    "aitm",
    "asymmetric_sharing",
    "cgc",
    "cross_stitch",
    "customized_sharing",
    "dbmtl",
    "dselect_k",
    "dtrn",
    "escm2",
    "esmm",
    "home",
    "me_mmoe",
    "me_ple",
    "mfh",
    "ml_mmoe",
    "mmoe",
    "omoe",
    "pepnet",
    "ple",
    "shared_bottom",
    "single_task",
    "sluice",
    "snr",
    "star",
    "stem_net",
    "stem_single_table",
]

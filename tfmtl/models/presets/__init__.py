"""One paper, one short function: a schema in, a Keras model out."""

from tfmtl.models.presets.chains import aitm, esmm
from tfmtl.models.presets.dtrn import dtrn
from tfmtl.models.presets.mfh import mfh
from tfmtl.models.presets.ple import (
    PLE_DEPTHS,
    asymmetric_sharing,
    cgc,
    cross_stitch,
    customized_sharing,
    ml_mmoe,
    mmoe,
    omoe,
    ple,
    shared_bottom,
    single_task,
    sluice,
)
from tfmtl.models.presets.stem import me_mmoe, me_ple, stem_net, stem_single_table

__all__ = [
    "PLE_DEPTHS",
    "aitm",
    "asymmetric_sharing",
    "cgc",
    "cross_stitch",
    "customized_sharing",
    "dtrn",
    "esmm",
    "me_mmoe",
    "me_ple",
    "mfh",
    "ml_mmoe",
    "mmoe",
    "omoe",
    "ple",
    "shared_bottom",
    "single_task",
    "sluice",
    "stem_net",
    "stem_single_table",
]

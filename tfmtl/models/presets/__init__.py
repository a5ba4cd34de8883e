"""One paper, one short function: a schema in, a Keras model out."""

from tfmtl.models.presets.ple import PLE_DEPTHS, cgc, mmoe, ple, shared_bottom, single_task
from tfmtl.models.presets.stem import me_mmoe, me_ple, stem_net, stem_single_table

__all__ = [
    "PLE_DEPTHS",
    "cgc",
    "me_mmoe",
    "me_ple",
    "mmoe",
    "ple",
    "shared_bottom",
    "single_task",
    "stem_net",
    "stem_single_table",
]

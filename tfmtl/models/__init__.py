"""Whole models: `build` from three stages, a preset for each paper, and what is done with a model."""

from tfmtl.models.build import build, encoded_inputs
from tfmtl.models.embedding_table import embedding_table
from tfmtl.models.presets import (
    PLE_DEPTHS,
    aitm,
    asymmetric_sharing,
    cgc,
    cross_stitch,
    customized_sharing,
    dbmtl,
    dtrn,
    escm2,
    esmm,
    me_mmoe,
    me_ple,
    mfh,
    ml_mmoe,
    mmoe,
    omoe,
    ple,
    shared_bottom,
    single_task,
    sluice,
    stem_net,
    stem_single_table,
)
from tfmtl.models.routed import routed
from tfmtl.models.warm_start import warm_start
from tfmtl.models.with_conditionals import with_conditionals
from tfmtl.named_model import NamedModel

__all__ = [
    "NamedModel",
    "PLE_DEPTHS",
    "aitm",
    "asymmetric_sharing",
    "build",
    "cgc",
    "cross_stitch",
    "customized_sharing",
    "dbmtl",
    "dtrn",
    "embedding_table",
    "encoded_inputs",
    "escm2",
    "esmm",
    "me_mmoe",
    "me_ple",
    "mfh",
    "ml_mmoe",
    "mmoe",
    "omoe",
    "ple",
    "routed",
    "shared_bottom",
    "single_task",
    "sluice",
    "stem_net",
    "stem_single_table",
    "warm_start",
    "with_conditionals",
]

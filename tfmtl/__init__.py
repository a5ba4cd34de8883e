"""Multi-task recommenders for Keras and TensorFlow.

Specs describe columns and tasks, bottoms, trunks and heads compose into functional Keras models, and the rest carries
them from rows to TensorFlow Serving. Reading, preprocessing, training helpers and export need the TensorFlow backend;
layers and models run on JAX and PyTorch too.
"""

from tfmtl import losses, metrics
from tfmtl.keras_host import BACKEND
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.layers.chain_calibrator import ChainCalibrator
from tfmtl.layers.experts import Experts
from tfmtl.layers.feature_embedding import FeatureEmbedding
from tfmtl.layers.gate import Gate
from tfmtl.layers.group_routing import GroupRouting
from tfmtl.layers.hyper_sequence_extractor import HyperSequenceExtractor
from tfmtl.layers.information_transfer import InformationTransfer
from tfmtl.layers.join_streams import JoinStreams
from tfmtl.layers.mlp import MLP
from tfmtl.layers.stem_embedding import STEMEmbedding
from tfmtl.layers.task_senet import TaskSENet
from tfmtl.layers.task_tower import TaskTower
from tfmtl.models.build import build, encoded_inputs
from tfmtl.models.presets import (
    aitm,
    asymmetric_sharing,
    cgc,
    cross_stitch,
    customized_sharing,
    dtrn,
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
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task, TaskGrid
from tfmtl.stages.bottoms import DTRNRepresentation, SharedBottomRepresentation, STEMRepresentation
from tfmtl.stages.heads import AITMHead, ESMMHead, Towers
from tfmtl.stages.trunks import CGC, AsymmetricSharing, CustomizedSharing, MMoE, SharedBottom, SingleTask
from tfmtl.stages.trunks.cross_stitch import CrossStitch
from tfmtl.stages.trunks.hierarchical_task_tree import HierarchicalTaskTree
from tfmtl.stages.trunks.ml_mmoe import MLMMoE
from tfmtl.stages.trunks.omoe import OMoE
from tfmtl.stages.trunks.ple import PLE
from tfmtl.stages.trunks.sluice import Sluice
from tfmtl.stages.trunks.static_sharing import StaticSharing
from tfmtl.version import VERSION as __version__

if BACKEND == "tensorflow":
    from tfmtl.data import Preprocessor, adapt, extend, read
    from tfmtl.exporting.export import export
    from tfmtl.exporting.score import Score
    from tfmtl.optimizers import LazyAdam, RowWiseAdagrad, optimizer
    from tfmtl.training import Validation, evaluate, objectives, strategy

__all__ = [
    "AITMHead",
    "AsymmetricSharing",
    "BACKEND",
    "CGC",
    "CGCLayer",
    "Categorical",
    "ChainCalibrator",
    "CrossStitch",
    "CustomizedSharing",
    "DTRNRepresentation",
    "ESMMHead",
    "Experts",
    "FeatureEmbedding",
    "Gate",
    "GroupRouting",
    "HierarchicalTaskTree",
    "HyperSequenceExtractor",
    "InformationTransfer",
    "JoinStreams",
    "LazyAdam",
    "MLMMoE",
    "MLP",
    "MMoE",
    "Numeric",
    "OMoE",
    "PLE",
    "Preprocessor",
    "RowWiseAdagrad",
    "STEMEmbedding",
    "STEMRepresentation",
    "Schema",
    "Score",
    "Sequence",
    "SharedBottom",
    "SharedBottomRepresentation",
    "SingleTask",
    "Sluice",
    "StaticSharing",
    "Task",
    "TaskGrid",
    "TaskSENet",
    "TaskTower",
    "Towers",
    "Validation",
    "__version__",
    "adapt",
    "aitm",
    "asymmetric_sharing",
    "build",
    "cgc",
    "cross_stitch",
    "customized_sharing",
    "dtrn",
    "encoded_inputs",
    "esmm",
    "evaluate",
    "export",
    "extend",
    "losses",
    "me_mmoe",
    "me_ple",
    "metrics",
    "mfh",
    "ml_mmoe",
    "mmoe",
    "objectives",
    "omoe",
    "optimizer",
    "ple",
    "read",
    "routed",
    "shared_bottom",
    "single_task",
    "sluice",
    "stem_net",
    "stem_single_table",
    "strategy",
    "warm_start",
]

"""Multi-task recommenders for Keras and TensorFlow.

Specs describe columns and tasks, bottoms, trunks and heads compose into functional Keras models, and the rest carries
them from rows to TensorFlow Serving. Reading, preprocessing, training helpers and export need the TensorFlow backend;
layers and models run on JAX and PyTorch too.
"""

from tfmtl import losses, metrics
from tfmtl.keras_host import BACKEND
from tfmtl.layers.bottom.feature_embedding import FeatureEmbedding
from tfmtl.layers.bottom.stem_embedding import STEMEmbedding
from tfmtl.layers.core.experts import Experts
from tfmtl.layers.core.gate import Gate
from tfmtl.layers.core.join_streams import JoinStreams
from tfmtl.layers.core.mlp import MLP
from tfmtl.layers.head.task_tower import TaskTower
from tfmtl.layers.trunk.cgc import CGCLayer
from tfmtl.layers.trunk.ple import PLE
from tfmtl.models.bottoms import SharedBottomRepresentation, STEMRepresentation
from tfmtl.models.build import build, encoded_inputs
from tfmtl.models.heads import Towers
from tfmtl.models.presets import cgc, mmoe, ple, shared_bottom, single_task
from tfmtl.models.trunks import CGC, MMoE, SharedBottom, SingleTask
from tfmtl.spec import Categorical, Numeric, Schema, Sequence, Task
from tfmtl.version import VERSION as __version__

if BACKEND == "tensorflow":
    from tfmtl.training import Validation, evaluate, objectives, strategy

__all__ = [
    "BACKEND",
    "CGC",
    "CGCLayer",
    "Categorical",
    "Experts",
    "FeatureEmbedding",
    "Gate",
    "JoinStreams",
    "MLP",
    "MMoE",
    "Numeric",
    "PLE",
    "STEMEmbedding",
    "STEMRepresentation",
    "Schema",
    "Sequence",
    "SharedBottom",
    "SharedBottomRepresentation",
    "SingleTask",
    "Task",
    "TaskTower",
    "Towers",
    "__version__",
    "build",
    "cgc",
    "encoded_inputs",
    "losses",
    "metrics",
    "mmoe",
    "ple",
    "shared_bottom",
    "single_task",
    "Validation",
]

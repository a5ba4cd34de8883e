"""Multi-task recommenders for Keras and TensorFlow.

A schema describes columns and tasks; a bottom, a trunk and a head compose into a functional Keras model; the rest carries
it from rows to TensorFlow Serving. What most programs need is here, everything else lies in `tfmtl.layers`, `tfmtl.stages`,
`tfmtl.models` (the presets, such as `tfmtl.models.ple`), `tfmtl.schema`, `tfmtl.losses` and `tfmtl.metrics`, and, with the
TensorFlow backend, in `tfmtl.data`, `tfmtl.training`, `tfmtl.optimizers`, `tfmtl.exporting`, `tfmtl.analysis` and
`tfmtl.serving`. Layers and models run on JAX and PyTorch too.
"""

from tfmtl import layers, losses, metrics, models, schema, stages
from tfmtl.keras_host import BACKEND
from tfmtl.layers import CGCLayer, HyperSequenceExtractor, STEMEmbedding, TaskSENet
from tfmtl.models import build, embedding_table
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task, TaskGrid
from tfmtl.stages import (
    CGC,
    PLE,
    AITMHead,
    DTRNRepresentation,
    ESMMHead,
    HierarchicalTaskTree,
    MMoE,
    SharedBottom,
    SharedBottomRepresentation,
    SingleTask,
    STEMRepresentation,
    Towers,
)
from tfmtl.version import VERSION as __version__

__all__ = [
    "AITMHead",
    "CGC",
    "CGCLayer",
    "Categorical",
    "DTRNRepresentation",
    "ESMMHead",
    "HierarchicalTaskTree",
    "HyperSequenceExtractor",
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
    "TaskGrid",
    "TaskSENet",
    "Towers",
    "__version__",
    "build",
    "embedding_table",
    "layers",
    "losses",
    "metrics",
    "models",
    "schema",
    "stages",
]

if BACKEND == "tensorflow":
    from tfmtl.analysis import compare, diagnose
    from tfmtl.data import Preprocessor, adapt, extend, read
    from tfmtl.exporting import Score, export
    from tfmtl.optimizers import LazyAdam, optimizer
    from tfmtl.training import Validation, evaluate, objectives, strategy
    from tfmtl.training.balancing import balanced

    __all__ += [
        "LazyAdam",
        "Preprocessor",
        "Score",
        "Validation",
        "adapt",
        "balanced",
        "compare",
        "diagnose",
        "evaluate",
        "export",
        "extend",
        "objectives",
        "optimizer",
        "read",
        "strategy",
    ]

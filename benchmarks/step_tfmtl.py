"""The workload with tfmtl: its model, its optimizer, and `fit`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import Any

import tensorflow as tf
from child import fit_steps, peak_bytes, serve
from workload import (
    CATEGORICAL,
    DIM,
    EXPERT_UNITS,
    LEVELS,
    NUMERIC,
    SHARED_EXPERTS,
    TASK_EXPERTS,
    TOWER_UNITS,
    Workload,
)

import tfmtl
from tfmtl.keras_host import keras
from tfmtl.optimizers import LazyAdam
from tfmtl.training.objectives import objectives


def dataset(workload: Workload) -> tf.data.Dataset:
    """Encoded rows: row 0 of a table is for unknown ids."""
    ids, numbers, labels = workload.batches()
    x = {f"s{i}": ids[..., i] + 1 for i in range(CATEGORICAL)} | {f"d{i}": numbers[..., i] for i in range(NUMERIC)}
    y = {name: labels[..., i] for i, name in enumerate(workload.task_names)}
    return tf.data.Dataset.from_tensor_slices((x, y)).repeat().prefetch(2)


def compiled(workload: Workload) -> keras.Model:
    categorical = [tfmtl.Categorical(f"s{i}", num_ids=workload.ids, dim=DIM) for i in range(CATEGORICAL)]
    numeric = [tfmtl.Numeric(f"d{i}", transform=None, flag_missing=False) for i in range(NUMERIC)]
    schema = tfmtl.Schema([*categorical, *numeric], [tfmtl.Task(name) for name in workload.task_names])
    experts = {"num_task_experts": TASK_EXPERTS, "num_shared_experts": SHARED_EXPERTS}
    if workload.model == "ple":
        model = tfmtl.models.ple(schema, units=(EXPERT_UNITS,) * LEVELS, tower_units=(TOWER_UNITS,), **experts)
    else:
        model = stem_net(tfmtl.Schema(categorical, schema.tasks), experts)
    targets: dict[str, Any] = objectives(schema.tasks)
    if not workload.metrics:
        del targets["metrics"]
    model.compile(LazyAdam(), **targets)
    return model


def stem_net(schema: tfmtl.Schema, experts: dict[str, int]) -> keras.Model:
    """STEM-Net at the sizes of its authors' benchmark: categorical fields only, one level."""
    bottom = tfmtl.STEMRepresentation(schema.features, schema.task_names)
    trunk = tfmtl.CGC(EXPERT_UNITS, cross_task="detached", gate_input="sum", **experts)
    return tfmtl.build(schema, bottom, trunk, tfmtl.Towers(schema.tasks, units=(TOWER_UNITS,)), name="stem_net")


def main() -> None:
    workload = Workload.from_arguments()
    keras.mixed_precision.set_global_policy(workload.precision)
    imported = peak_bytes()
    model = compiled(workload)
    weights = model.count_params()
    needed = 3 * 4 * weights + 4 * workload.activation_bytes  # weights, two moments, four batches
    versions = {"tfmtl": tfmtl.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    run = fit_steps(keras, model, dataset(workload))
    serve(run, versions=versions, weights=weights, imported_bytes=imported, needed_bytes=needed)


if __name__ == "__main__":
    main()

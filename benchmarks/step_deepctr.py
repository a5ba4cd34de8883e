"""The workload with DeepCTR, in an environment of its own (requirements-deepctr.txt)."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import deepctr
import tensorflow as tf
from child import fit_steps, serve
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.models import PLE
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


def compiled(workload: Workload) -> tf.keras.Model:
    columns = [SparseFeat(f"s{i}", workload.ids, DIM) for i in range(CATEGORICAL)]
    columns += [DenseFeat(f"d{i}", 1) for i in range(NUMERIC)]
    model = PLE(
        columns,
        shared_expert_num=SHARED_EXPERTS,
        specific_expert_num=TASK_EXPERTS,
        num_levels=LEVELS,
        expert_dnn_hidden_units=(EXPERT_UNITS,),
        tower_dnn_hidden_units=(TOWER_UNITS,),
        gate_dnn_hidden_units=(),
        l2_reg_embedding=0,
        l2_reg_dnn=0,
        task_types=["binary"] * workload.tasks,
        task_names=workload.task_names,
    )
    model.compile("adam", loss=["binary_crossentropy"] * workload.tasks)
    return model


def dataset(workload: Workload) -> tf.data.Dataset:
    ids, numbers, labels = workload.batches()
    x = {f"s{i}": ids[..., i] for i in range(CATEGORICAL)} | {f"d{i}": numbers[..., i] for i in range(NUMERIC)}
    y = tuple(labels[..., i : i + 1] for i in range(workload.tasks))
    return tf.data.Dataset.from_tensor_slices((x, y)).repeat().prefetch(2)


def main() -> None:
    workload = Workload.from_arguments()
    model = compiled(workload)
    versions = {"deepctr": deepctr.__version__, "tensorflow": tf.__version__}
    serve(fit_steps(tf.keras, model, dataset(workload)), versions=versions, weights=model.count_params())


if __name__ == "__main__":
    main()

"""The workload as a Keras 3 user writes it by hand: a Dense for each expert, an Embedding for each feature, Adam."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import Any

import keras
import tensorflow as tf
from child import fit_steps, serve
from keras import layers
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


def mix(experts: list[Any], reader: Any) -> Any:
    gate = layers.Dense(len(experts), activation="softmax", use_bias=False)(reader)
    return keras.ops.sum(keras.ops.stack(experts, axis=1) * keras.ops.expand_dims(gate, -1), axis=1)


def experts(number: int, x: Any) -> list[Any]:
    return [layers.Dense(EXPERT_UNITS, activation="relu")(x) for _ in range(number)]


def compiled(workload: Workload) -> keras.Model:
    ids = {f"s{i}": keras.Input((1,), dtype="int32", name=f"s{i}") for i in range(CATEGORICAL)}
    numbers = {f"d{i}": keras.Input((1,), name=f"d{i}") for i in range(NUMERIC)}
    fields = [layers.Flatten()(layers.Embedding(workload.ids, DIM)(column)) for column in ids.values()]
    x = layers.Concatenate()([*fields, *numbers.values()])
    own, shared = [x] * workload.tasks, x
    for level in range(LEVELS):
        of_shared = experts(SHARED_EXPERTS, shared)
        of_tasks = [experts(TASK_EXPERTS, stream) for stream in own]
        if level < LEVELS - 1:
            shared = mix([expert for mine in [*of_tasks, of_shared] for expert in mine], shared)
        own = [mix(mine + of_shared, stream) for mine, stream in zip(of_tasks, own, strict=True)]
    outputs = {}
    for name, stream in zip(workload.task_names, own, strict=True):
        hidden = layers.Dense(TOWER_UNITS, activation="relu")(stream)
        outputs[name] = layers.Dense(1, activation="sigmoid", name=name, dtype="float32")(hidden)
    model = keras.Model(ids | numbers, outputs)
    model.compile("adam", loss=dict.fromkeys(outputs, "binary_crossentropy"))
    return model


def dataset(workload: Workload) -> tf.data.Dataset:
    ids, numbers, labels = workload.batches()
    x = {f"s{i}": ids[..., i : i + 1] for i in range(CATEGORICAL)} | {
        f"d{i}": numbers[..., i : i + 1] for i in range(NUMERIC)
    }
    y = {name: labels[..., i : i + 1] for i, name in enumerate(workload.task_names)}
    return tf.data.Dataset.from_tensor_slices((x, y)).repeat().prefetch(2)


def main() -> None:
    workload = Workload.from_arguments()
    keras.mixed_precision.set_dtype_policy(workload.precision)
    model = compiled(workload)
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
    serve(fit_steps(keras, model, dataset(workload)), versions=versions, weights=model.count_params())


if __name__ == "__main__":
    main()

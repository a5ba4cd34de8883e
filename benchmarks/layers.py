"""Layers of tfmtl against what a user writes by hand, forward and backward, on whichever backend Keras runs.

    KERAS_BACKEND=torch python benchmarks/layers.py --what cgc ple embedding --tasks 2 4 8 16

`cgc` is one level whose streams are one tensor, `ple` two levels and a gate that reads the last, `embedding` the fused
tables of 20 columns. By hand, every expert is a Dense and every column an Embedding. Prints the times and their ratio; on
a GPU the ratio tells what one large kernel saves over many small ones.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from child import each
from workload import CATEGORICAL, DIM, EXPERT_UNITS, SHARED_EXPERTS, TASK_EXPERTS

import tfmtl

WIDTH = 330
IDS = 20_000


class NaiveCGC(keras.layers.Layer):
    """A Dense for each expert, a stack, a multiplication, a sum."""

    def __init__(self, tasks: list[str], update_shared: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.tasks = tasks
        self.update_shared = update_shared
        dense = keras.layers.Dense
        self.shared = [dense(EXPERT_UNITS, activation="relu") for _ in range(SHARED_EXPERTS)]
        self.own = {task: [dense(EXPERT_UNITS, activation="relu") for _ in range(TASK_EXPERTS)] for task in tasks}
        counts = dict.fromkeys(tasks, TASK_EXPERTS + SHARED_EXPERTS)
        if update_shared:
            counts["shared"] = TASK_EXPERTS * len(tasks) + SHARED_EXPERTS
        self.gates = {name: dense(count, activation="softmax", use_bias=False) for name, count in counts.items()}

    def call(self, streams: dict[str, Any]) -> dict[str, Any]:
        shared = [expert(streams["shared"]) for expert in self.shared]
        own = {task: [expert(streams[task]) for expert in self.own[task]] for task in self.tasks}
        mixed = {task: self._mix(task, own[task] + shared, streams[task]) for task in self.tasks}
        if not self.update_shared:
            return mixed
        everything = [expert for task in self.tasks for expert in own[task]] + shared
        return mixed | {"shared": self._mix("shared", everything, streams["shared"])}

    def _mix(self, name: str, experts: list[Any], reader: Any) -> Any:
        weights = keras.ops.expand_dims(self.gates[name](reader), -1)
        return keras.ops.sum(keras.ops.stack(experts, axis=1) * weights, axis=1)


class Levels(keras.layers.Layer):
    """Levels of CGC over one input, one after the other."""

    def __init__(self, levels: list[Any], tasks: list[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.levels = levels
        self.streams = [*tasks, "shared"]

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> dict[str, Any]:
        streams = dict.fromkeys(self.streams, inputs["x"])
        for level in self.levels:
            streams = level(streams, training=training) if isinstance(level, tfmtl.CGCLayer) else level(streams)
        return streams


class NaiveEmbeddings(keras.layers.Layer):
    """An Embedding for each column."""

    def __init__(self, columns: list[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.tables = {column: keras.layers.Embedding(IDS + 1, DIM) for column in columns}

    def call(self, ids: dict[str, Any]) -> dict[str, Any]:
        return {"x": keras.ops.concatenate([table(ids[column]) for column, table in self.tables.items()], axis=-1)}


class FusedEmbeddings(keras.layers.Layer):
    """One table for all columns, as `SharedBottomRepresentation` reads it."""

    def __init__(self, columns: list[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.fields = tfmtl.layers.FeatureEmbedding([tfmtl.Categorical(c, num_ids=IDS, dim=DIM) for c in columns])

    def build(self, shapes: Any) -> None:
        self.fields.build(shapes)
        self.built = True

    def call(self, ids: dict[str, Any]) -> dict[str, Any]:
        return {"x": self.fields.joined(ids)}


def contestants(what: str, num_tasks: int, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """`{"tfmtl": layer, "by hand": layer}` and what they read."""
    random = np.random.default_rng(0)
    if what == "embedding":
        columns = [f"c{i}" for i in range(CATEGORICAL)]
        draws = np.minimum(random.zipf(1.2, (CATEGORICAL, batch)), IDS).astype("int32")
        inputs = {column: keras.ops.convert_to_tensor(ids) for column, ids in zip(columns, draws, strict=True)}
        return {"tfmtl": FusedEmbeddings(columns), "by hand": NaiveEmbeddings(columns)}, inputs
    tasks = [f"t{i}" for i in range(num_tasks)]
    experts = {"num_task_experts": TASK_EXPERTS, "num_shared_experts": SHARED_EXPERTS}
    last = {"cgc": [True], "ple": [True, False]}[what]
    grouped = Levels([tfmtl.CGCLayer(EXPERT_UNITS, update_shared=more, **experts) for more in last], tasks)
    naive = Levels([NaiveCGC(tasks, update_shared=more) for more in last], tasks)
    x = keras.ops.convert_to_tensor(random.standard_normal((batch, WIDTH)).astype("float32"))
    return {"tfmtl": grouped, "by hand": naive}, {"x": x}


def total(outputs: dict[str, Any]) -> Any:
    """A loss that reaches every output."""
    return sum(keras.ops.sum(keras.ops.square(keras.ops.cast(y, "float32"))) for y in outputs.values())


def on_tensorflow(layer: Any, inputs: dict[str, Any], training: dict[str, bool]) -> Callable[[], Any]:
    import tensorflow as tf

    weights = [weight.value for weight in layer.trainable_variables]

    @tf.function
    def step(given: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            loss = total(layer(given, **training))
        return [loss, *tape.gradient(loss, weights)]

    return lambda: float(step(inputs)[0])


def on_jax(layer: Any, inputs: dict[str, Any], training: dict[str, bool]) -> Callable[[], Any]:
    import jax

    fixed = [weight.value for weight in layer.non_trainable_variables]

    def loss(weights: Any, given: dict[str, Any]) -> Any:
        return total(layer.stateless_call(weights, fixed, given, **training)[0])

    step = jax.jit(jax.value_and_grad(loss))
    weights = [weight.value for weight in layer.trainable_variables]
    return lambda: jax.block_until_ready(step(weights, inputs))


def on_torch(layer: Any, inputs: dict[str, Any], training: dict[str, bool]) -> Callable[[], Any]:
    import torch

    weights = [weight.value for weight in layer.trainable_variables]

    def step() -> None:
        torch.autograd.grad(total(layer(inputs, **training)), weights)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return step


STEP = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}


def compare(what: str, num_tasks: int, batch: int, rounds: int, steps: int) -> dict[str, float]:
    """Median milliseconds of `{"tfmtl": ..., "by hand": ...}`, in turns."""
    layers, inputs = contestants(what, num_tasks, batch)
    run, seconds = {}, {}
    for name, layer in layers.items():
        training = {"training": True} if isinstance(layer, Levels) else {}
        layer(inputs, **training)
        run[name], seconds[name] = each(STEP[keras.config.backend()](layer, inputs, training)), []
        run[name](3)
    for _ in range(rounds):
        for name in run:
            seconds[name] += run[name](steps)
    return {name: 1e3 * statistics.median(all_seconds) for name, all_seconds in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", nargs="+", default=["cgc", "ple", "embedding"])
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--batch", type=int, nargs="+", default=[2048])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    options = parser.parse_args()
    keras.mixed_precision.set_dtype_policy(options.precision)
    print(f"Keras {keras.__version__} on {keras.config.backend()}, {options.precision}")
    print("| layer | tasks | batch | tfmtl ms | by hand ms | by hand / tfmtl |\n|---|---|---|---|---|---|")
    for what in options.what:
        for batch in options.batch:
            for tasks in options.tasks if what != "embedding" else [1]:
                ms = compare(what, tasks, batch, options.rounds, options.steps)
                ratio = ms["by hand"] / ms["tfmtl"]
                print(
                    f"| {what} | {tasks} | {batch} | {ms['tfmtl']:.2f} | {ms['by hand']:.2f} | {ratio:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""One CGC level, grouped (tfmtl) against a Dense for each expert, forward and backward, on whichever backend Keras runs.

    KERAS_BACKEND=torch python benchmarks/layers.py --tasks 2 4 8 16

Prints the times and their ratio; on a GPU the ratio tells what one large kernel saves over many small ones.
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
from workload import EXPERT_UNITS, SHARED_EXPERTS, TASK_EXPERTS

import tfmtl

WIDTH = 330


class NaiveCGC(keras.layers.Layer):
    """What a user writes by hand: a Dense for each expert, a stack, a multiplication, a sum."""

    def __init__(self, tasks: list[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.tasks = tasks
        dense = keras.layers.Dense
        self.shared = [dense(EXPERT_UNITS, activation="relu") for _ in range(SHARED_EXPERTS)]
        self.own = {task: [dense(EXPERT_UNITS, activation="relu") for _ in range(TASK_EXPERTS)] for task in tasks}
        counts = dict.fromkeys(tasks, TASK_EXPERTS + SHARED_EXPERTS) | {
            "shared": TASK_EXPERTS * len(tasks) + SHARED_EXPERTS
        }
        self.gates = {name: dense(count, activation="softmax", use_bias=False) for name, count in counts.items()}

    def call(self, streams: dict[str, Any]) -> dict[str, Any]:
        shared = [expert(streams["shared"]) for expert in self.shared]
        own = {task: [expert(streams[task]) for expert in self.own[task]] for task in self.tasks}
        everything = [expert for task in self.tasks for expert in own[task]] + shared
        mixed = {task: self._mix(task, own[task] + shared, streams[task]) for task in self.tasks}
        return mixed | {"shared": self._mix("shared", everything, streams["shared"])}

    def _mix(self, name: str, experts: list[Any], reader: Any) -> Any:
        weights = keras.ops.expand_dims(self.gates[name](reader), -1)
        return keras.ops.sum(keras.ops.stack(experts, axis=1) * weights, axis=1)


def total(outputs: dict[str, Any]) -> Any:
    """A loss that reaches every output."""
    return sum(keras.ops.sum(keras.ops.square(keras.ops.cast(y, "float32"))) for y in outputs.values())


def on_tensorflow(layer: Any, streams: dict[str, Any]) -> Callable[[], Any]:
    import tensorflow as tf

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = total(layer(streams))
        return [loss, *tape.gradient(loss, [weight.value for weight in layer.trainable_variables])]

    return lambda: float(step()[0])


def on_jax(layer: Any, streams: dict[str, Any]) -> Callable[[], Any]:
    import jax

    fixed = [weight.value for weight in layer.non_trainable_variables]
    step = jax.jit(jax.value_and_grad(lambda weights: total(layer.stateless_call(weights, fixed, streams)[0])))
    weights = [weight.value for weight in layer.trainable_variables]
    return lambda: jax.block_until_ready(step(weights))


def on_torch(layer: Any, streams: dict[str, Any]) -> Callable[[], Any]:
    import torch

    weights = [weight.value for weight in layer.trainable_variables]

    def step() -> None:
        torch.autograd.grad(total(layer(streams)), weights)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return step


STEP = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}


def compare(num_tasks: int, batch: int, rounds: int, steps: int) -> dict[str, float]:
    """Median milliseconds of `{"grouped": ..., "naive": ...}`, in turns."""
    tasks = [f"t{i}" for i in range(num_tasks)]
    random = np.random.default_rng(0)
    x = keras.ops.convert_to_tensor(random.standard_normal((batch, WIDTH)).astype("float32"))
    streams = dict.fromkeys([*tasks, "shared"], x)
    grouped = tfmtl.CGCLayer(
        EXPERT_UNITS, num_task_experts=TASK_EXPERTS, num_shared_experts=SHARED_EXPERTS, update_shared=True
    )
    run, seconds = {}, {}
    for name, layer in (("grouped", grouped), ("naive", NaiveCGC(tasks))):
        layer(streams)
        run[name], seconds[name] = each(STEP[keras.config.backend()](layer, streams)), []
        run[name](3)
    for _ in range(rounds):
        for name in run:
            seconds[name] += run[name](steps)
    return {name: 1e3 * statistics.median(all_seconds) for name, all_seconds in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    options = parser.parse_args()
    keras.mixed_precision.set_dtype_policy(options.precision)
    print(f"Keras {keras.__version__} on {keras.config.backend()}, batch {options.batch}, {options.precision}")
    print("| tasks | grouped ms | one kernel per expert ms | grouped / one kernel per expert |\n|---|---|---|---|")
    for tasks in options.tasks:
        ms = compare(tasks, options.batch, options.rounds, options.steps)
        print(f"| {tasks} | {ms['grouped']:.1f} | {ms['naive']:.1f} | {ms['grouped'] / ms['naive']:.2f} |", flush=True)


if __name__ == "__main__":
    main()

"""Step time of every preset over that of PLE, beside their floating-point operations.

    python benchmarks/zoo.py
    python benchmarks/zoo.py --only home star --rounds 10 --batch 1024

Models read the workload's columns (20 ids, 10 numbers, two tasks), one of which is a scenario with 8 ids, and have widths at which
their products cost about what PLE's do; the ratio of operations is printed, so that a time can be read per operation. Steps are
those of `fit` with LazyAdam, in turns: in every round each model takes `--steps`, PLE before it, and the ratio is that of their
medians. Printed are the median of the rounds' ratios and the least and greatest.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from child import fit_steps
from step_tfmtl import dataset
from workload import CATEGORICAL, DIM, NUMERIC, Workload

import tfmtl
from tfmtl import models
from tfmtl.keras_host import keras

SCENARIOS = 8
SCENARIO, USER, ITEM = "s0", "s1", "s2"


def schema_of(workload: Workload) -> tfmtl.Schema:
    ids = {SCENARIO: SCENARIOS}
    features: list[Any] = [
        tfmtl.Categorical(f"s{i}", num_ids=ids.get(f"s{i}", workload.ids), dim=DIM) for i in range(CATEGORICAL)
    ]
    features += [tfmtl.Numeric(f"d{i}", transform=None, flag_missing=False) for i in range(NUMERIC)]
    return tfmtl.Schema(features, [tfmtl.Task(name, mean=0.5) for name in workload.task_names])


def presets(schema: tfmtl.Schema) -> dict[str, Callable[[], keras.Model]]:
    """Widths by which each comes near the operations of the first, PLE's of two levels."""
    groups = {f"g{i}": [task] for i, task in enumerate(schema.task_names)}
    return {
        "ple": lambda: models.ple(schema),
        "mmoe": lambda: models.mmoe(schema, units=(256, 128), tower_units=(64,)),
        "adatt": lambda: models.adatt(schema, num_task_experts=2, num_shared_experts=2),
        "dselect_k": lambda: models.dselect_k(schema, units=(256, 128), num_experts=6, tower_units=(64,)),
        "home": lambda: models.home(schema, units=(64, 48), groups=groups),
        "snr": lambda: models.snr(schema, units=(256, 128), num_subnetworks=3),
        "pepnet": lambda: models.pepnet(schema, [SCENARIO], [USER, ITEM], tower_units=(192, 96, 64), domain_units=128),
        "star": lambda: models.star(schema, SCENARIO, tower_units=(96, 64)),
    }


def matmul_flops(model: keras.Model, rows: dict[str, Any]) -> float:
    """Of a forward pass as it is served, whose products all stand in one graph: two for each product of numbers that is added up."""
    specs = {name: tf.TensorSpec(column.shape, column.dtype) for name, column in rows.items()}
    graph = tf.function(lambda columns: model(columns, training=False)).get_concrete_function(specs).graph
    total = 0
    for op in graph.get_operations():
        if op.type in ("MatMul", "BatchMatMul", "BatchMatMulV2"):
            flag = "transpose_a" if op.type == "MatMul" else "adj_x"
            summed = op.inputs[0].shape[-2 if op.get_attr(flag) else -1]
            total += 2 * op.outputs[0].shape.num_elements() * summed
    return float(total)


def compiled(make: Callable[[], keras.Model], schema: tfmtl.Schema) -> keras.Model:
    model = make()
    targets: dict[str, Any] = tfmtl.objectives(schema.tasks)
    targets.pop("metrics", None)
    model.compile(tfmtl.LazyAdam(), **targets)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="presets beside PLE")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    workload = Workload(batch=options.batch)
    schema = schema_of(workload)
    # Ids of the scenario come as the workload draws them; those beyond the last one are unknown.
    rows = next(iter(dataset(workload)))[0]
    made = {name: make for name, make in presets(schema).items() if name == "ple" or name in (options.only or [name])}
    trained = {name: compiled(make, schema) for name, make in made.items()}
    flops = {name: matmul_flops(model, rows) for name, model in trained.items()}
    steps = {name: fit_steps(keras, model, dataset(workload)) for name, model in trained.items()}
    for run in steps.values():
        run(3)

    times: dict[str, list[float]] = {name: [] for name in steps}
    ratios: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, run in steps.items():
            of_ple = statistics.median(steps["ple"](options.steps))
            times[name].append(statistics.median(run(options.steps)))
            ratios[name].append(times[name][-1] / of_ple)

    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {options.batch} rows a step")
    print("| preset | GFLOP of products, forward | over PLE | ms a step | time over PLE | least to greatest |")
    print("|---|---|---|---|---|---|")
    for name, found in ratios.items():
        print(
            f"| {name} | {flops[name] / 1e9:.2f} | {flops[name] / flops['ple']:.2f} | "
            f"{1000 * statistics.median(times[name]):.0f} | {statistics.median(found):.2f} | "
            f"{min(found):.2f} to {max(found):.2f} |"
        )


if __name__ == "__main__":
    main()

"""What a balanced step costs over the plain one, by method, number of tasks, and steps between two measurements.

    python benchmarks/balancing.py --tasks 2 4 16 --every 1 10
    python benchmarks/balancing.py --tasks 4 --methods CAGrad UPGrad --rounds 20

All contestants live in one process and take turns of ten steps, so that a machine that slows down slows all of them; a
figure is the median over rounds of the ratio to the plain model's turn of the same round, by the clock and by the time that
the process had on all cores, which a busy machine disturbs less. The targets are 1 + 0.35 for each task with a measurement
at every step, and 1.1 with one in ten.
"""

import argparse
import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import tfmtl
from tfmtl.keras_host import keras
from tfmtl.optimizers import LazyAdam
from tfmtl.training import balancing, objectives

FROM_LOSSES = ("Static", "RLW", "UncertaintyWeighting", "DWA", "FAMO")
EVERY_STEP = ("MetaBalance",)
FROM_GRAMIAN = ("GradNorm", "PCGrad", "CAGrad", "IMTLG", "MGDA", "UPGrad", "DBMTL", "NashMTL", "AlignedMTL")
STEPS = 10
CATEGORICAL, NUMERIC, IDS, DIM = 10, 5, 5_000, 16


def data(tasks: int, batch: int) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    random = np.random.default_rng(0)
    ids = np.minimum(random.zipf(1.2, (CATEGORICAL, batch)), IDS).astype("int32")
    numbers = random.standard_normal((NUMERIC, batch)).astype("float32")
    labels = (numbers[0] + random.standard_normal((tasks, batch)) > 0).astype("float32")
    x = {f"s{i}": ids[i] for i in range(CATEGORICAL)} | {f"d{i}": numbers[i] for i in range(NUMERIC)}
    return {n: tf.constant(v) for n, v in x.items()}, {f"t{i}": tf.constant(labels[i]) for i in range(tasks)}


def compiled(tasks: int, units: list[int], balancer: balancing.Balancer | None) -> keras.Model:
    categorical = [tfmtl.Categorical(f"s{i}", num_ids=IDS, dim=DIM) for i in range(CATEGORICAL)]
    numeric = [tfmtl.Numeric(f"d{i}", transform=None, flag_missing=False) for i in range(NUMERIC)]
    schema = tfmtl.Schema([*categorical, *numeric], [tfmtl.Task(f"t{i}") for i in range(tasks)])
    model = tfmtl.models.ple(schema, units=tuple(units), tower_units=(32,))
    model = model if balancer is None else balancing.balanced(model, balancer)
    targets: dict[str, Any] = objectives(schema.tasks)
    del targets["metrics"]
    model.compile(LazyAdam(), **targets)
    return model


def balancer(name: str, every: int) -> balancing.Balancer:
    make = getattr(balancing, name)
    if name in EVERY_STEP:
        return make("t0")
    return make() if name in FROM_LOSSES else make(every=every)


def turn(model: keras.Model, x: dict[str, tf.Tensor], y: dict[str, tf.Tensor]) -> np.ndarray:
    """Seconds a step, by the clock and on all cores."""
    start = np.array([time.perf_counter(), time.process_time()])
    for _ in range(STEPS):
        model.train_on_batch(x, y)
    return (np.array([time.perf_counter(), time.process_time()]) - start) / STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 4, 16])
    parser.add_argument("--every", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--methods", nargs="+", default=[*FROM_LOSSES, *FROM_GRAMIAN, *EVERY_STEP])
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--units", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    for tasks in options.tasks:
        x, y = data(tasks, options.batch)
        plain = compiled(tasks, options.units, None)
        turn(plain, x, y)
        print(f"{tasks} tasks, target {1 + 0.35 * tasks:.2f} at every step, 1.10 at every tenth", flush=True)
        for name in options.methods:
            for every in options.every if name in FROM_GRAMIAN else [1]:
                model = compiled(tasks, options.units, balancer(name, every))
                turn(model, x, y)
                rounds = np.array([(turn(model, x, y), turn(plain, x, y)) for _ in range(options.rounds)])
                ratios = rounds[:, 0] / rounds[:, 1]
                by_clock, on_cores = np.median(ratios, axis=0)
                low, high = np.quantile(ratios[:, 0], [0.25, 0.75])
                plain_ms = 1e3 * np.median(rounds[:, 1, 0])
                figures = f"{by_clock:.2f} ({low:.2f} to {high:.2f}), on cores {on_cores:.2f}; plain {plain_ms:.1f} ms"
                print(f"  {name:22} every {every:2}: {figures}", flush=True)


if __name__ == "__main__":
    main()

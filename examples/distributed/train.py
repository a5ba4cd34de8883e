"""One training script for one CPU, several GPUs, several workers, and parameter servers.

    python examples/distributed/rows.py rows
    python examples/distributed/train.py --data rows                        # one CPU, or all GPUs of this machine
    python examples/distributed/launch.py --workers 2 train.py --data rows  # two workers; on a cluster, TF_CONFIG says so

A process that dies is started again with the same command and goes on where it was. What runs where is in `TF_CONFIG` alone.
"""

import argparse
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # several machines need tf_keras

import tensorflow as tf

import tfmtl
from tfmtl import Categorical, Schema, Task
from tfmtl.keras_host import keras
from tfmtl.training import Resume, StopAtNan

SCHEMA = Schema(
    [
        Categorical("user", vocabulary="adapt", dtype="int64", side="user"),
        Categorical("item", vocabulary="adapt", dtype="int64", side="item"),
    ],
    [Task("click"), Task("buy", sample_space="click")],
)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    options = _options(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("tfmtl").setLevel(logging.INFO)
    keras.utils.set_random_seed(options.seed)

    shard, servers = _place()
    # Before anything else of TensorFlow; workers and servers of a parameter server strategy stay in this line.
    parts = tf.distribute.experimental.partitioners.MinSizePartitioner(options.part_bytes, max_shards=max(servers, 1))
    strategy = tfmtl.strategy("auto", **({"variable_partitioner": parts} if servers else {}))
    schema = tfmtl.adapt(SCHEMA, tfmtl.read(options.data, SCHEMA, batch_size=8192), verbose=0)
    train = tfmtl.read(options.data, schema, batch_size=options.batch_size, shuffle=True, shard=shard, encode=True)
    if servers:  # whose workers read without an order among them: an epoch is a number of steps
        train = train.repeat()

    with strategy.scope():
        model = tfmtl.models.ple(schema, units=(32,), tower_units=(16,))
        model.compile(tfmtl.LazyAdam(2e-3), **tfmtl.objectives(schema.tasks))
    steps = options.steps_per_epoch if servers else None
    callbacks = [] if servers else [StopAtNan()]  # which has nothing to read where steps are not waited for
    resume = Resume(
        options.out / "run", callbacks, save_freq=options.save_freq if not servers else "epoch", steps_per_epoch=steps
    )
    history = model.fit(
        train, epochs=options.epochs, steps_per_epoch=steps, verbose=0, callbacks=[*callbacks, resume]
    ).history

    # All workers call these; the chief writes.
    model.save(options.out / "model.keras")
    tfmtl.export(model, options.out / "served", schema, verbose=0)
    return {name: float(values[-1]) for name, values in history.items()}


def _place() -> tuple[tuple[int, int], int]:
    """The shard of this process, and the number of parameter servers."""
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    cluster, task = config.get("cluster", {}), config.get("task", {})
    if cluster.get("ps"):
        return (0, 1), len(cluster["ps"])
    workers = [(role, index) for role in ("chief", "worker") for index in range(len(cluster.get(role, ())))]
    return (workers.index((task["type"], task["index"])), len(workers)) if workers else (0, 1), 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="what `tfmtl.read` reads: a folder, a pattern, a URL")
    parser.add_argument("--out", type=Path, default=Path("out"), help="a folder that all workers see")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=256, help="of all workers together")
    parser.add_argument("--save-freq", type=int, default=20, help="batches from one checkpoint to the next")
    parser.add_argument("--steps-per-epoch", type=int, default=60, help="under parameter servers")
    parser.add_argument("--part-bytes", type=int, default=256 << 10, help="of weights on parameter servers, at least")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    print(json.dumps(main()))

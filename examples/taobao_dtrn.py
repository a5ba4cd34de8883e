"""DTRN on Taobao's behaviour log: what a user does next with an item, from four behaviour histories.

    python examples/taobao_dtrn.py --data UserBehavior --users 650      # the folder of UserBehavior.csv

The log must be downloaded by whoever uses it (Alibaba, Tianchi data set 649, research use); a Parquet file with columns
user_id, item_id, category_id, behavior, timestamp does as well. Tasks and rows are those of `tfmtl.data.taobao`: `view`
tells the viewed item from drawn popular ones, `cart`, `fav` and `buy` say whether that follows a view within six hours.

DTRN is compared with one transformer that reads the histories alike for all tasks, and with a model for each task alone.
All are equally deep. They read categories, not items: on a small sample most items viewed on the test days are new and the
drawn ones are not, while in training the unknown ones are mostly drawn. The last day before the test days chooses the epoch.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import tfmtl
from tfmtl import Schema
from tfmtl.data import taobao
from tfmtl.keras_host import keras


@dataclass(frozen=True)
class Parts:
    """Encoded batches to train on, to choose the epoch with, and to test on."""

    train: tf.data.Dataset
    valid: tf.data.Dataset
    test: tf.data.Dataset


def dtrn(schema: Schema, *, task_specific: bool) -> keras.Model:
    """DTRN, or, not `task_specific`, what is left of it without hypernetwork and without the tasks' weighing of fields."""
    return tfmtl.models.dtrn(
        schema,
        target="category",
        condition_on="task+behavior" if task_specific else "none",
        ffn_units=32,
        refine=task_specific,
        units=(64, 32),
        tower_units=(16,),
    )


def train(make: Callable[[Schema], keras.Model], schema: Schema, parts: Parts, options: argparse.Namespace) -> dict:
    """Test AUC of every task, after the epoch with the best mean AUC on the validation rows."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(options.seed)
    started, model = time.process_time(), make(schema)
    targets = tfmtl.objectives(schema.tasks)
    model.compile(keras.optimizers.Adam(options.rate), loss=targets["loss"], jit_compile=False)
    best, weights, chosen = -1.0, None, 0
    for epoch in range(1, options.epochs + 1):
        model.fit(parts.train, shuffle=False, verbose=0)
        mean = float(np.nanmean(list(aucs(model, parts.valid, schema).values())))
        if weights is None or mean > best:
            best, weights, chosen = mean, model.get_weights(), epoch
    model.set_weights(weights)
    sys.stdout.write(
        f"  {', '.join(schema.task_names)}: {model.count_params():,} parameters, epoch {chosen}, "
        f"{time.process_time() - started:.0f} s\n"
    )
    sys.stdout.flush()
    return aucs(model, parts.test, schema)


def aucs(model: keras.Model, dataset: tf.data.Dataset, schema: Schema) -> dict[str, float]:
    found = tfmtl.evaluate(model, dataset, schema)
    return {task: found[f"{task}_auc"] for task in schema.task_names}


def categories(schema: Schema) -> Schema:
    """`schema` without items, in rows and in histories."""
    kept = [feature for feature in schema.features if feature.name != "item"]
    histories = {
        f.name: tuple(field for field in f.fields if field.name == "category") for f in kept if hasattr(f, "fields")
    }
    return Schema([replace(f, fields=histories[f.name]) if f.name in histories else f for f in kept], schema.tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", required=True, help="folder of UserBehavior.csv, or of its columns as taobao*.parquet"
    )
    parser.add_argument("--users", type=int, help="take this many users; the default takes all")
    parser.add_argument("--length", type=int, default=20, help="events read of each history")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    split = taobao(options.data, users=options.users, length=options.length, seed=options.seed)
    train_rows, valid_rows, test_rows = split.train, split.valid, split.test
    schema = categories(split.schema)
    schema = tfmtl.adapt(schema, tfmtl.read(train_rows, schema, batch_size=8192))
    preprocessor = tfmtl.Preprocessor(schema.features)

    def parts_of(tasks: Schema) -> Parts:
        shuffled = tfmtl.read(train_rows, tasks, batch_size=options.batch, shuffle=True, seed=options.seed)
        held = (tfmtl.read(rows, tasks, batch_size=4096).map(preprocessor) for rows in (valid_rows, test_rows))
        return Parts(shuffled.map(preprocessor).prefetch(2), *held)

    sys.stdout.write(
        f"{train_rows.num_rows:,} rows to train on, {valid_rows.num_rows:,} to choose the epoch, {test_rows.num_rows:,} to test on\n"
    )
    found: dict[str, dict[str, float]] = {}
    for name, task_specific in (("DTRN", True), ("shared transformer", False)):
        sys.stdout.write(f"{name}\n")
        found[name] = train(partial(dtrn, task_specific=task_specific), schema, parts_of(schema), options)
    sys.stdout.write("single-task\n")
    found["single-task"] = {}
    for task in schema.task_names:
        alone = schema.with_tasks([task])
        found["single-task"] |= train(partial(dtrn, task_specific=False), alone, parts_of(alone), options)

    def line(name: str, cells: list[str]) -> None:
        sys.stdout.write(f"{name:22}" + "".join(f"{cell:>9}" for cell in cells) + "\n")

    line("\ntest AUC", list(schema.task_names))
    for name, figures in found.items():
        line(name, [f"{figures[task]:.4f}" for task in schema.task_names])
    labels = {task: np.asarray(test_rows[task].to_pylist(), "float64") for task in schema.task_names}
    line("rows with a label", [f"{(~np.isnan(of)).sum():,}" for of in labels.values()])
    line("positive", [f"{np.nansum(of):,.0f}" for of in labels.values()])


if __name__ == "__main__":
    main()

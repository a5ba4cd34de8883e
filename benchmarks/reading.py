"""Rows a second from files to encoded batches, against `make_csv_dataset` and against what a PLE step consumes.

    .venv/bin/python benchmarks/reading.py                   # 262,144 rows, ids as text like Criteo's
    .venv/bin/python benchmarks/reading.py --ids integer --rounds 9

Every contestant hands 20 categorical and 10 numeric columns through the same `Preprocessor`, and two labels beside them, in
batches of 2048. They take turns; before each turn its file is dropped from the page cache where the system allows it.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import tensorflow as tf
from child import fit_steps
from step_tfmtl import compiled, dataset
from workload import CATEGORICAL, NUMERIC, Workload

import tfmtl
from tfmtl.data import Preprocessor, adapt, read
from tfmtl.keras_host import keras

FEW_STEPS = 5


def table(rows: int, text: bool) -> pa.Table:
    """The workload's rows, repeated to `rows`, with ids as integers or as eight hexadecimal digits."""
    ids, numbers, labels = (np.resize(a, (rows, a.shape[1])) for a in Workload().arrays())
    columns = {f"d{i}": numbers[:, i] for i in range(NUMERIC)} | {f"t{i}": labels[:, i] for i in range(2)}
    for i in range(CATEGORICAL):
        column = ids[:, i].astype("int64")
        columns[f"s{i}"] = np.char.mod("%08x", column * 2654435761 % 2**32) if text else column
    return pa.table(columns)


def described(text: bool) -> tfmtl.Schema:
    kind = {"vocabulary": "adapt", "dtype": "string"} if text else {"num_ids": 20_000}
    features = [tfmtl.Categorical(f"s{i}", **kind) for i in range(CATEGORICAL)]
    features += [tfmtl.Numeric(f"d{i}") for i in range(NUMERIC)]
    return tfmtl.Schema(features, [tfmtl.Task("t0"), tfmtl.Task("t1")])


def csv_dataset(path: Path, schema: tfmtl.Schema, batch: int) -> tf.data.Dataset:
    """The same batches by TensorFlow's own reader of CSV."""
    types = {"string": tf.string, "int64": tf.int64}
    wanted = {f.name: types[f.dtype] if isinstance(f, tfmtl.Categorical) else tf.float32 for f in schema.features}
    wanted |= {task.name: tf.float32 for task in schema.tasks}
    order = [name for name in pa_csv.open_csv(path).schema.names if name in wanted]
    batches = tf.data.experimental.make_csv_dataset(
        str(path),
        batch,
        column_defaults=[wanted[name] for name in order],
        select_columns=order,
        num_epochs=1,
        shuffle=False,
        num_parallel_reads=2,
    )
    return batches.map(lambda x: (x, {name: x[name] for name in schema.task_names}))


def drop_from_cache(path: Path) -> None:
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def consume(batches: tf.data.Dataset) -> tuple[int, float]:
    """The rows of one pass, and the seconds it took."""
    start, rows = time.perf_counter(), 0
    for _, y in batches:
        rows += len(y["t0"])
    return rows, time.perf_counter() - start


def contestants(folder: Path, rows: int, text: bool, batch: int) -> dict[str, Callable[[], tuple[int, float]]]:
    """What takes part: each call reads all rows once, or does a few steps."""
    files = {name: folder / f"rows.{name}" for name in ("parquet", "csv")}
    made = table(rows, text)
    pa_parquet.write_table(made, files["parquet"], row_group_size=1 << 16)
    pa_csv.write_csv(made, files["csv"])
    schema = described(text)
    schema = adapt(schema, read(made, schema, batch_size=8192))
    preprocessor = Preprocessor(schema.features)

    def pass_over(path: Path, batches: tf.data.Dataset) -> Callable[[], tuple[int, float]]:
        encoded = batches.map(preprocessor, num_parallel_calls=2).prefetch(2)

        def run() -> tuple[int, float]:
            drop_from_cache(path)
            return consume(encoded)

        return run

    step = fit_steps(keras, compiled(Workload(batch=batch)), dataset(Workload(batch=batch)))
    read_from = {name: read(path, schema, batch_size=batch) for name, path in files.items()}
    shuffled = read(files["parquet"], schema, batch_size=batch, shuffle=True, seed=0)
    return {
        "read, Parquet": pass_over(files["parquet"], read_from["parquet"]),
        "read, Parquet, shuffled": pass_over(files["parquet"], shuffled),
        "read, CSV": pass_over(files["csv"], read_from["csv"]),
        "make_csv_dataset": pass_over(files["csv"], csv_dataset(files["csv"], schema, batch)),
        "PLE step": lambda: (FEW_STEPS * batch, sum(step(FEW_STEPS))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1 << 18)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--ids", choices=("text", "integer"), default="text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        running = contestants(Path(folder), options.rows, options.ids == "text", options.batch)
        speeds: dict[str, list[float]] = {name: [] for name in running}
        for number in range(options.rounds + 1):
            for name, run in running.items():
                rows, seconds = run()
                if number:  # the first round traces and warms up
                    speeds[name].append(rows / seconds)
    middle = {name: float(np.median(found)) for name, found in speeds.items()}
    print(f"{options.rows:,} rows, {options.ids} ids; load {os.getloadavg()[0]:.1f}\n")
    print("| | rows/s | range | x make_csv_dataset | x PLE step |\n|---|---|---|---|---|")
    for name, speed in middle.items():
        low, high = min(speeds[name]), max(speeds[name])
        ratios = f"{speed / middle['make_csv_dataset']:.1f} | {speed / middle['PLE step']:.1f}"
        print(f"| {name} | {speed:,.0f} | {low:,.0f}-{high:,.0f} | {ratios} |")


if __name__ == "__main__":
    main()

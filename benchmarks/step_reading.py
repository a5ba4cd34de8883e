"""Reading: from a cold file to encoded batches, as seconds for a batch of 2048 rows.

What is read, and by what, is the workload's `model`: "parquet", "parquet shuffled" and "csv" by `tfmtl.read`, "make_csv_dataset"
by TensorFlow's own reader of CSV. Each hands 20 categorical columns (text like Criteo's) and 10 numeric ones through the same
`Preprocessor`, and two labels beside them. A step is a pass over a file that was dropped from the page cache before.
"""

import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import tensorflow as tf
from child import Steps, serve
from workload import CATEGORICAL, NUMERIC, Workload

import tfmtl
from tfmtl.data import Preprocessor, adapt, read

ROWS = 1 << 17


def table(workload: Workload) -> pa.Table:
    """The workload's rows, repeated to `ROWS`, with ids as eight hexadecimal digits."""
    ids, numbers, labels = (np.resize(a, (ROWS, a.shape[1])) for a in workload.arrays())
    columns = {f"d{i}": numbers[:, i] for i in range(NUMERIC)} | {f"t{i}": labels[:, i] for i in range(2)}
    for i in range(CATEGORICAL):
        column = ids[:, i].astype("int64")
        columns[f"s{i}"] = np.char.mod("%08x", column * 2654435761 % 2**32)
    return pa.table(columns)


def described() -> tfmtl.Schema:
    features = [tfmtl.Categorical(f"s{i}", vocabulary="adapt", dtype="string") for i in range(CATEGORICAL)]
    features += [tfmtl.Numeric(f"d{i}") for i in range(NUMERIC)]
    return tfmtl.Schema(features, [tfmtl.Task("t0"), tfmtl.Task("t1")])


def csv_dataset(path: Path, schema: tfmtl.Schema, batch: int) -> tf.data.Dataset:
    """The same batches by TensorFlow's own reader of CSV."""
    wanted = {f.name: tf.string if isinstance(f, tfmtl.Categorical) else tf.float32 for f in schema.features}
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


def passes(path: Path, batches: tf.data.Dataset, batch: int) -> Steps:
    """Steps that read all rows once; the seconds are those of a batch."""

    def run(steps: int) -> list[float]:
        seconds = []
        for _ in range(steps):
            drop_from_cache(path)
            start, rows = time.perf_counter(), 0
            for _, y in batches:
                rows += len(y["t0"])
            seconds.append((time.perf_counter() - start) * batch / rows)
        return seconds

    return run


def main() -> None:
    workload = Workload.from_arguments()
    made = table(workload)
    schema = adapt(described(), read(made, described(), batch_size=8192))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.parquet" if "parquet" in workload.model else "rows.csv")
        if path.suffix == ".parquet":
            pa_parquet.write_table(made, path, row_group_size=1 << 16)
        else:
            pa_csv.write_csv(made, path)
        if workload.model == "make_csv_dataset":
            batches = csv_dataset(path, schema, workload.batch)
        else:
            batches = read(path, schema, batch_size=workload.batch, shuffle="shuffled" in workload.model)
        encoded = batches.map(Preprocessor(schema.features), num_parallel_calls=2).prefetch(2)
        versions = {"tfmtl": tfmtl.__version__, "tensorflow": tf.__version__, "pyarrow": pa.__version__}
        serve(passes(path, encoded, workload.batch), versions=versions, weights=0)


if __name__ == "__main__":
    main()

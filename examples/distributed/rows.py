"""Writes rows to try the other scripts with: users, items, clicks and purchases.

python examples/distributed/rows.py rows                 # Parquet, in eight files
python examples/distributed/rows.py records --tfrecord   # what parameter servers read
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet

ROWS_A_FILE, FILES = 2000, 8


def table(seed: int, rows: int = ROWS_A_FILE) -> pa.Table:
    """Purchases follow clicks; both follow from tastes that users and items have."""
    random = np.random.default_rng(seed)
    user, item = random.integers(0, 200, rows), random.integers(0, 100, rows)
    taste = np.sin(user * 0.7) * np.cos(item * 0.9)
    click = random.random(rows) < 1 / (1 + np.exp(-2 * taste))
    buy = click & (random.random(rows) < 1 / (1 + np.exp(1 - taste)))
    return pa.table({"user": user, "item": item, "click": click.astype("int64"), "buy": buy.astype("int64")})


def write_records(rows: pa.Table, path: Path) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows.to_pylist():
            values = {name: tf.train.Int64List(value=[value]) for name, value in row.items()}
            features = {name: tf.train.Feature(int64_list=value) for name, value in values.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tfrecord", action="store_true", help="instead of Parquet")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        path = options.folder / f"part-{number:05d}.{'tfrecord' if options.tfrecord else 'parquet'}"
        (write_records if options.tfrecord else pa_parquet.write_table)(table(number), path)


if __name__ == "__main__":
    main()

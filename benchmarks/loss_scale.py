"""Weights of 1 or losses divided by that of always answering the base rate: what should be the default, on Census-Income.

    python benchmarks/loss_scale.py          # about a quarter of an hour on one core

PLE and shared-bottom with both settings, and single-task twins, by `tfmtl.compare`; a tenth of the training rows chooses the epoch.
`benchmarks/kuairand.py` asks the same of KuaiRand. `docs/balancing.md` holds the answer.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf

import tfmtl
from tfmtl.analysis import Contestant, compare
from tfmtl.data import census_income
from tfmtl.models import ple, shared_bottom, single_task

SIZES = {"units": (64, 32), "tower_units": (16,)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the published files; without it they are downloaded once")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--folder", type=Path, default=Path("runs/loss_scale"))
    parser.add_argument("--out", type=Path, default=Path("docs/studies/data/loss_scale_census.json"))
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    split = census_income(options.data)
    rows = split.train
    chooses = np.random.default_rng(0).random(rows.num_rows) < 0.1
    train, valid = rows.filter(pa.array(~chooses)), rows.filter(pa.array(chooses))
    schema = tfmtl.adapt(split.schema, tfmtl.read(train, split.schema, batch_size=8192))
    models = {"PLE": lambda s: ple(s, **SIZES), "shared-bottom": lambda s: shared_bottom(s, **SIZES)}
    report = compare(
        schema,
        {
            f"{name}, {'normalised' if normalize else 'weights 1'}": Contestant(make, normalize=normalize)
            for name, make in models.items()
            for normalize in (False, True)
        },
        train,
        valid,
        pa.concat_tables([split.valid, split.test]),  # the official test file
        twin=lambda s: single_task(s, **SIZES),
        seeds=options.seeds,
        epochs=options.epochs,
        batch_size=options.batch,
        learning_rates=(options.rate,),
        patience=1,
        folder=options.folder,
    )
    print(report)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in report.to_dict().items() if name not in ("curves", "calibration")}
    options.out.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

"""What sharing gains on KuaiRand's long_view as its labels grow rare.

    python benchmarks/label_density.py --data KuaiRand-Pure/data       # about half an hour on one core

Of the training rows 100, 30, 10 and 3 % keep their label of long_view; click, like and profile_enter keep all of theirs. A PLE of
the four tasks is compared with a twin that learns long_view alone, from the labelled rows. Both have the same features, of which
none is made of labels (no target rates), widths, dropout, learning rate, and the rule by which their epoch is chosen: the AUC of
long_view on the validation day. The twin may take up to 20 epochs, because with few labels an epoch is short.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from study_rows import Kept, Rows, encoded, figures, paired, trained

import tfmtl
from tfmtl.data import kuairand
from tfmtl.keras_host import keras
from tfmtl.metrics import exact
from tfmtl.models import ple, single_task

TASK = "long_view"
SHARES = (1.0, 0.3, 0.1, 0.03)
SIZES = {"units": (64, 32), "tower_units": (16,), "dropout": 0.2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder of KuaiRand-Pure")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--length", type=int, default=20, help="events of a history")
    parser.add_argument("--out", type=Path, default=Path("docs/studies/data/label_density.json"))
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    split = kuairand(options.data, length=options.length, target_rates=False)
    schema = replace(split.schema, features=tuple(f for f in split.schema.features if f.name != "user_id"))
    schema = tfmtl.adapt(schema, tfmtl.read(split.train, schema, batch_size=8192))
    train, valid, test = (
        encoded(part, schema, counted=part is split.train) for part in (split.train, split.valid, split.test)
    )
    kept = Kept(options.out, {"batch": options.batch, "rate": options.rate, "length": options.length})
    draw = np.random.default_rng(0).random(len(train.y[TASK]))  # the rows of 3 % are among those of 10 %, and so on

    def score(predictions: dict[str, np.ndarray]) -> float:
        return float(exact.auc(valid.y[TASK], predictions[TASK].reshape(-1)))

    def run(of: str, share: float, seed: int) -> dict[str, object]:
        labelled = draw < share
        rate = float(train.y[TASK][labelled].mean())
        tasks = tuple(replace(task, mean=rate) if task.name == TASK else task for task in schema.tasks)
        own = replace(schema, tasks=tasks).with_tasks(schema.task_names if of == "PLE" else [TASK])
        rows = Rows(train.x, train.y | {TASK: np.where(labelled, train.y[TASK], np.nan).astype("float32")})
        keras.utils.set_random_seed(seed)
        model = ple(own, **SIZES) if of == "PLE" else single_task(own, **SIZES)
        epoch, predicted = trained(
            model,
            own,
            rows if of == "PLE" else rows.where(labelled),
            score,
            valid,
            test,
            normalize=True,
            rate=options.rate,
            batch=options.batch,
            epochs=5 if of == "PLE" else 20,
            patience=1 if of == "PLE" else 3,
        )
        return {"epoch": epoch, "labels": int(labelled.sum()), **figures(test.y[TASK], predicted[TASK])}

    for seed in range(1, options.seeds + 1):
        for share in SHARES:
            for of in ("PLE", "twin"):
                kept.run(f"{of}, {share:g}, seed {seed}", lambda of=of, share=share, seed=seed: run(of, share, seed))
    print("| labels | twin | PLE | gain |\n|---|---|---|---|")
    for share in SHARES:
        runs = {
            of: [kept.found["runs"][f"{of}, {share:g}, seed {seed}"] for seed in range(1, options.seeds + 1)]
            for of in ("twin", "PLE")
        }
        aucs = {of: [one["auc"] for one in found] for of, found in runs.items()}
        gain = paired(aucs["PLE"], aucs["twin"])
        print(
            f"| {100 * share:g} % ({runs['PLE'][0]['labels']:,}) | {np.mean(aucs['twin']):.4f} | {np.mean(aucs['PLE']):.4f} | {gain} |"
        )


if __name__ == "__main__":
    main()

"""Likes that are seen for clicked videos only: which model ranks all videos by like?

    python benchmarks/selection.py --data KuaiRand-Pure/data       # about 25 minutes on one core for three seeds

KuaiRand's log knows of a like whether the video was clicked or not. For training, the likes of rows without a click are hidden; on
the test day all likes are the truth. This is the selection bias that ESMM was made for, on data where its cost can be measured. All
models have the same features (none of them made of labels), widths, dropout and learning rate;
the epoch is chosen by the AUC of like over the clicked rows of the validation day, which is all that a user would have.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from study_rows import Kept, encoded, figures, paired, trained

import tfmtl
from tfmtl.data import kuairand
from tfmtl.keras_host import keras
from tfmtl.metrics import exact
from tfmtl.models import aitm, escm2, esmm, ple, single_task
from tfmtl.schema import Schema, Task

SIZES = {"units": (64, 32), "tower_units": (16,), "dropout": 0.2}
TWIN = "like alone, clicked rows"

MASKED = (Task("click", label="is_click"), Task("like", label="is_like", sample_space="is_click"))
CHAIN = (Task("click", label="is_click"), Task("like", label="click_and_like"))
ALL_SEEN = (Task("click", label="is_click"), Task("like", label="is_like"))

MODELS: dict[str, tuple[tuple[Task, ...], Callable[[Schema], keras.Model]]] = {
    TWIN: (MASKED[1:], lambda s: single_task(s, **SIZES)),
    "PLE, like on clicked rows": (MASKED, lambda s: ple(s, **SIZES)),
    "ESMM": (CHAIN, lambda s: esmm(s, ("click", "like"), **SIZES)),
    "ESCM2-IPW": (CHAIN, lambda s: escm2(s, ("click", "like"), estimator="ipw", **SIZES)),
    "ESCM2-DR": (CHAIN, lambda s: escm2(s, ("click", "like"), estimator="dr", imputation_units=(16,), **SIZES)),
    "AITM": (CHAIN, lambda s: aitm(s, ("click", "like"), **SIZES)),
    "like alone, all likes seen": (ALL_SEEN[1:], lambda s: single_task(s, **SIZES)),
}
"""The tasks that a model is trained for, and how it is built. The last one sees what is hidden: what selection costs at most."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder of KuaiRand-Pure")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--length", type=int, default=20, help="events of a history")
    parser.add_argument("--out", type=Path, default=Path("docs/studies/data/selection.json"))
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    split = kuairand(options.data, length=options.length, target_rates=False)
    parts = [_with_path(part) for part in (split.train, split.valid, split.test)]
    features = tuple(feature for feature in split.schema.features if feature.name != "user_id")
    kept = Kept(options.out, {"batch": options.batch, "rate": options.rate, "length": options.length})
    encoded_for: dict[tuple[Task, ...], Any] = {}
    truth = parts[2]["is_like"].to_numpy().astype("float64")
    clicked = parts[2]["is_click"].to_numpy() == 1

    def prepared(tasks: tuple[Task, ...]) -> Any:
        if tasks not in encoded_for:
            schema = replace(split.schema, features=features, tasks=tasks)
            schema = tfmtl.adapt(schema, tfmtl.read(parts[0], schema, batch_size=8192))
            encoded_for[tasks] = schema, *(encoded(part, schema, counted=part is parts[0]) for part in parts)
        return encoded_for[tasks]

    def run(name: str, seed: int) -> dict[str, Any]:
        tasks, make = MODELS[name]
        schema, train, valid, test = prepared(tasks)
        seen, likes = valid.y.get("click"), valid.y["like"]
        rows = np.ones(len(likes), bool) if seen is None else seen == 1

        def score(predictions: dict[str, np.ndarray]) -> float:
            judged = rows & ~np.isnan(likes)
            return float(exact.auc(likes[judged], predictions["like"].reshape(-1)[judged]))

        keras.utils.set_random_seed(seed)
        epoch, predicted = trained(
            make(schema), schema, train, score, valid, test,
            normalize=True, rate=options.rate, batch=options.batch, epochs=6, patience=2,
        )  # fmt: skip
        like = predicted["like"]
        inside = figures(truth[clicked], like[clicked])
        return {"epoch": epoch, **figures(truth, like), "auc_clicked": inside["auc"]}

    for seed in range(1, options.seeds + 1):
        for name in MODELS:
            kept.run(f"{name}, seed {seed}", lambda name=name, seed=seed: run(name, seed))
    print(
        "| model | AUC of like, all rows | over like alone | clicked rows | calibration, all rows |\n|---|---|---|---|---|"
    )
    seeds = range(1, options.seeds + 1)
    runs = {name: [kept.found["runs"][f"{name}, seed {seed}"] for seed in seeds] for name in MODELS}
    for name, found in runs.items():
        auc, inside, calibration = (
            np.mean([one[key] for one in found]) for key in ("auc", "auc_clicked", "calibration")
        )
        gain = "" if name == TWIN else paired((one["auc"] for one in found), (one["auc"] for one in runs[TWIN]))
        print(f"| {name} | {auc:.4f} | {gain} | {inside:.4f} | {calibration:.2f} |")


def _with_path(rows: pa.Table) -> pa.Table:
    """`rows` with the label of the whole path, as the entire space knows it: a like without a click is not seen."""
    return rows.append_column("click_and_like", pc.multiply(rows["is_click"], rows["is_like"]))


if __name__ == "__main__":
    main()

"""What the two studies of MFH share: the contestants, a run of one of them, and the tables.

python benchmarks/mfh_study.py docs/studies/data/mfh_study.json      # the tables of the runs in that file
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

import tfmtl
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read
from tfmtl.keras_host import keras
from tfmtl.models.presets import mfh, ple
from tfmtl.schema import Schema, TaskGrid
from tfmtl.training.evaluation import Evaluation
from tfmtl.training.objectives import objectives

# The models are small: more threads would wait for each other.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

BATCH = 512
UNITS = (64, 32)
TOWER = (32,)
REFERENCE = "flat PLE"

Kept = dict[str, Any]
"""A study's figures as JSON; `runs` holds a list by contestant, one entry a seed."""


@dataclass(frozen=True)
class Study:
    """A grid, its features (adapted) and rows to train on, to choose the epoch with, and to test on."""

    name: str
    grid: TaskGrid
    features: tuple[Any, ...]
    train: pa.Table
    valid: pa.Table
    test: pa.Table

    @property
    def schema(self) -> Schema:
        return Schema(self.features, self.grid.tasks)

    def rows_of(self, group: str) -> int:
        """How many rows of the group there are to train on."""
        values = np.asarray(self.train[self.grid.column].to_pylist())
        return int((values == dict(self.grid.groups)[group]).sum())


def shares(grid: TaskGrid, train: pa.Table) -> TaskGrid:
    """`grid` with the authors' loss, a mean over all labelled cells: a task weighs as much as its group has rows."""
    values = np.asarray(train[grid.column].to_pylist())
    return replace(grid, weights={group: float((values == value).mean()) for group, value in grid.groups})


def contestants(study: Study) -> dict[str, Callable[[], tuple[keras.Model, Schema]]]:
    """By name, what makes a model and the schema that it is trained with."""
    grid, schema = study.grid, study.schema
    sizes = {"root_units": UNITS[:1], "facet_units": UNITS, "leaf_units": UNITS[-1], "tower_units": TOWER}
    experts = {"units": UNITS, "tower_units": TOWER, "num_task_experts": 2, "num_shared_experts": 2}
    behaviors = Schema(study.features, grid.behaviors)
    return {
        "MFH": lambda: (mfh(schema, grid, **sizes), schema),
        "one tree, by behaviour": lambda: (mfh(schema, grid, trees=("behavior",), **sizes), schema),
        "one tree, by group": lambda: (mfh(schema, grid, trees=("group",), **sizes), schema),
        REFERENCE: lambda: (ple(schema, **experts), schema),
        "PLE without groups": lambda: (ple(behaviors, **experts), behaviors),
    }


def by_cell(model: keras.Model, grid: TaskGrid) -> keras.Model:
    """`model` with an output for each task of the grid, also where it knows behaviours only."""
    cells = grid.cells.items()
    outputs = {task: model.output.get(task, model.output.get(b)) for b, tasks in cells for task in tasks.values()}
    return keras.Model(model.input, outputs)


class Contestant:
    """One model, traced once and trained anew for each seed."""

    def __init__(self, study: Study, make: Callable[[], tuple[keras.Model, Schema]]):
        self.make, self.grid = make, study.grid
        self.model, self.schema = make()
        targets = objectives(self.schema.tasks)
        losses = {"loss": targets["loss"], "loss_weights": targets["loss_weights"]}
        self.model.compile(keras.optimizers.Adam(2e-3), jit_compile=False, **losses)
        self.model.optimizer.build(self.model.trainable_variables)
        self.untrained = [variable.numpy() for variable in self.model.optimizer.variables]
        self.evaluate = Evaluation(by_cell(self.model, study.grid), study.schema)

    def run(self, study: Study, *, seed: int, epochs: int) -> dict[str, Any]:
        """Trains from new weights; gives the size, the seconds, and after each epoch every task's AUC on every part."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(self.make()[0].get_weights())
        for variable, value in zip(self.model.optimizer.variables, self.untrained, strict=True):
            variable.assign(value)
        preprocessor = Preprocessor(study.features)
        batches = read(study.train, self.schema, batch_size=BATCH, shuffle=True, seed=seed).map(preprocessor)
        parts = {
            name: read(part, study.schema, batch_size=8192).map(preprocessor).cache()
            for name, part in (("train", study.train), ("valid", study.valid), ("test", study.test))
        }
        started, curve = time.process_time(), []
        for epoch in range(1, epochs + 1):
            self.model.fit(batches, shuffle=False, verbose=0)
            # The training rows are wanted after the last epoch only.
            curve.append({part: self._aucs(parts[part]) for part in parts if part != "train" or epoch == epochs})
        return {"parameters": self.model.count_params(), "seconds": time.process_time() - started, "curve": curve}

    def _aucs(self, rows: tf.data.Dataset) -> dict[str, float]:
        figures = self.evaluate(rows)
        return {task.name: round(figures[f"{task.name}_auc"], 5) for task in self.grid.tasks}


def compare(
    studies: Sequence[Study], path: Path, settings: Mapping[str, Any], *, epochs: int, tell: Callable[[str], None]
) -> Kept:
    """Every contestant on every study, study i with seed i; runs what `path` does not hold yet, and keeps each run there."""
    first = studies[0]
    kept = _kept(path, first, {**settings, "epochs": epochs})
    for name, make in contestants(first).items():
        runs = kept["runs"].setdefault(name, [])
        if len(runs) >= len(studies):
            continue
        contestant = Contestant(first, make)
        for seed in range(len(runs), len(studies)):
            runs.append(contestant.run(studies[seed], seed=seed, epochs=epochs))
            others = json.loads(path.read_text()) if path.exists() else {}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**others, first.name: kept}) + "\n")
            tell(f"{first.name}, {name}, seed {seed}: {runs[-1]['seconds']:.0f} s")
        keras.backend.clear_session()
    return kept


def _kept(path: Path, study: Study, settings: Mapping[str, Any]) -> Kept:
    """What `path` holds of the study, if it was run with these settings."""
    studies = json.loads(path.read_text()) if path.exists() else {}
    groups = {group: study.rows_of(group) for group in study.grid.group_names}
    versions = {"tfmtl": tfmtl.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    new = {"versions": versions, "settings": settings, "rows": groups, "cells": study.grid.cells, "runs": {}}
    kept = studies.get(study.name, new)
    if kept["settings"] != json.loads(json.dumps(settings)):
        raise SystemExit(f"{path} holds another {study.name}: {kept['settings']}")
    return kept


def table(kept: Kept) -> str:
    """A study as Markdown: a block for each group, mean and standard error over the seeds."""
    head = "| | parameters | test AUC | against flat PLE | test AUC, last epoch | train - test, last epoch |\n|---|---|---|---|---|---|"
    blocks = []
    for group, rows in kept["rows"].items():
        tasks = [cells[group] for cells in kept["cells"].values()]
        found = {name: [_figures(one["curve"], tasks) for one in runs] for name, runs in kept["runs"].items()}
        reference = np.array([figures["test"] for figures in found[REFERENCE]])
        lines = [f"**{group}**, {rows:,} rows to train on", "", head]
        for name, figures in found.items():
            test, last, gap = (np.array([one[key] for one in figures]) for key in ("test", "last", "gap"))
            gain = "" if name == REFERENCE else _spread(test - reference, "+")
            size = f"{kept['runs'][name][0]['parameters']:,}"
            lines.append(f"| {' | '.join([name, size, _spread(test), gain, _spread(last), _spread(gap)])} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _figures(curve: list[dict[str, Any]], tasks: Sequence[str]) -> dict[str, float]:
    """Mean AUC of `tasks`: on the test rows after the epoch with the best mean AUC of all tasks on the validation rows,
    after the last epoch, and how much higher it then is on the training rows."""
    chosen = curve[int(np.argmax([np.mean(list(epoch["valid"].values())) for epoch in curve]))]

    def mean(epoch: Mapping[str, Any], part: str) -> float:
        return float(np.mean([epoch[part][task] for task in tasks]))

    test, last = mean(chosen, "test"), mean(curve[-1], "test")
    return {"test": test, "last": last, "gap": mean(curve[-1], "train") - last}


def _spread(values: np.ndarray, sign: str = "") -> str:
    """Mean and standard error over the seeds."""
    error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.4f}" if len(values) > 1 else ""
    return f"{values.mean():{sign}.4f}{error}"


def main() -> None:
    """Prints the tables of the studies that were run."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/studies/data/mfh_study.json")
    for name, kept in json.loads(path.read_text()).items():
        print(f"## {name}\n\n{table(kept)}\n")


if __name__ == "__main__":
    main()

"""What the two studies of MFH share: the contestants, a run of one of them, and the tables."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from tfmtl.spec import Schema, TaskGrid
from tfmtl.training.evaluation import Evaluation
from tfmtl.training.objectives import objectives

# The models are small: more threads would wait for each other.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

BATCH = 512
UNITS = (64, 32)
TOWER = (32,)
REFERENCE = "flat PLE"


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
        self.make = make
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
        started, curve = time.perf_counter(), []
        for _ in range(epochs):
            self.model.fit(batches, shuffle=False, verbose=0)
            figures = {part: self.evaluate(dataset) for part, dataset in parts.items()}
            curve.append({p: {t: figures[p][f"{t}_auc"] for t in study.schema.task_names} for p in parts})
        return {"parameters": self.model.count_params(), "seconds": time.perf_counter() - started, "curve": curve}


def compare(studies: Sequence[Study], *, epochs: int, tell: Callable[[str], None]) -> dict[str, list[dict[str, Any]]]:
    """Every contestant on every study; study i is trained with seed i."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for name, make in contestants(studies[0]).items():
        contestant = Contestant(studies[0], make)
        for seed, study in enumerate(studies):
            runs.setdefault(name, []).append(contestant.run(study, seed=seed, epochs=epochs))
            tell(f"{study.name}, {name}, seed {seed}: {runs[name][-1]['seconds']:.0f} s")
        keras.backend.clear_session()
    return runs


def best_epoch(curve: list[dict[str, Any]]) -> int:
    """The epoch with the best mean AUC of all tasks on the validation rows."""
    return int(np.argmax([np.mean(list(epoch["valid"].values())) for epoch in curve]))


def group_auc(epoch: Mapping[str, Any], part: str, grid: TaskGrid, group: str) -> float:
    """The mean AUC of a group's tasks."""
    return float(np.mean([epoch[part][tasks[group]] for tasks in grid.cells.values()]))


def figures(study: Study, runs: Iterable[Mapping[str, Any]], group: str) -> dict[str, np.ndarray]:
    """For each seed: test AUC of the group at the chosen epoch, and at the last one, and the gap to its training AUC."""
    found: dict[str, list[float]] = {"test": [], "last": [], "gap": []}
    for one in runs:
        chosen, last = one["curve"][best_epoch(one["curve"])], one["curve"][-1]
        found["test"].append(group_auc(chosen, "test", study.grid, group))
        found["last"].append(group_auc(last, "test", study.grid, group))
        found["gap"].append(group_auc(last, "train", study.grid, group) - found["last"][-1])
    return {name: np.array(values) for name, values in found.items()}


def table(study: Study, runs: Mapping[str, list[dict[str, Any]]]) -> str:
    """The study as Markdown: a block for each group."""
    head = "| | parameters | test AUC | against flat PLE | test AUC, last epoch | train - test, last epoch |\n|---|---|---|---|---|---|"
    blocks = []
    for group in study.grid.group_names:
        reference = figures(study, runs[REFERENCE], group)["test"]
        lines = [f"**{group}**, {study.rows_of(group):,} rows to train on", "", head]
        for name, ones in runs.items():
            found = figures(study, ones, group)
            gain = "" if name == REFERENCE else _spread(found["test"] - reference, signed=True)
            cells = (
                f"{ones[0]['parameters']:,}",
                _spread(found["test"]),
                gain,
                _spread(found["last"]),
                _spread(found["gap"]),
            )
            lines.append(f"| {name} | {' | '.join(cells)} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _spread(values: np.ndarray, *, signed: bool = False) -> str:
    """Mean and standard error over the seeds."""
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():{'+' if signed else ''}.4f} ± {error:.4f}"


def keep(path: Path, study: Study, runs: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Writes every figure as JSON, beside those of other studies in the same file."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    versions = {"tfmtl": tfmtl.__version__, "keras": keras.__version__}
    groups = {group: study.rows_of(group) for group in study.grid.group_names}
    kept[study.name] = {"versions": versions, "settings": dict(settings), "rows": groups, "runs": runs}
    path.write_text(json.dumps(kept, indent=1) + "\n")

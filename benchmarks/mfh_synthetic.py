"""MFH against flat PLE and single trees where the truth is known: behaviours x groups, one of the groups small.

    python benchmarks/mfh_synthetic.py                      # 3 seeds, some minutes on one core
    python benchmarks/mfh_synthetic.py --seeds 1 --epochs 2

The logit of behaviour a in group g is `f_a(x) + f_g(x) + f_ag(x)`, three random functions: what a behaviour has in all
groups, what a group has in all behaviours, and a part of its own.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
from mfh_study import Study, compare, shares, table

from tfmtl.metrics import exact
from tfmtl.schema import Categorical, Numeric, Task, TaskGrid

BEHAVIORS = ("finish", "skip", "like")
GROUPS = {"new": 0.03, "low": 0.27, "high": 0.7}  # shares of the rows to train on
WIDTH = 16
OWN = 0.6  # standard deviation of f_ag beside 1 of f_a and of f_g


class Truth:
    """The functions behind the labels, drawn anew for each seed."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        names = [*BEHAVIORS, *GROUPS, *(f"{a}_{g}" for a in BEHAVIORS for g in GROUPS)]
        self.functions = {name: (rng.normal(size=(WIDTH, 8)) / WIDTH**0.5, rng.normal(size=8)) for name in names}

    def part(self, name: str, x: np.ndarray) -> np.ndarray:
        """A random function of standard deviation close to 1."""
        inner, outer = self.functions[name]
        y = np.sin(1.5 * x @ inner) @ outer
        return y / np.linalg.norm(outer) * 2**0.5

    def logit(self, behavior: str, group: str, x: np.ndarray) -> np.ndarray:
        """`f_a + f_g + f_ag - 1`: about three labels of ten are positive."""
        return self.part(behavior, x) + self.part(group, x) + OWN * self.part(f"{behavior}_{group}", x) - 1


def rows(truth: Truth, counts: dict[str, int], rng: np.random.Generator) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """Labelled rows, and the true logits of every cell."""
    group = np.repeat(list(counts), list(counts.values()))
    x = rng.normal(size=(len(group), WIDTH)).astype("float32")
    labels, logits = {}, {}
    for behavior in BEHAVIORS:
        y = np.empty(len(group))
        for name in counts:
            inside = group == name
            logits[f"{behavior}_{name}"] = truth.logit(behavior, name, x[inside])
            y[inside] = rng.random(inside.sum()) < 1 / (1 + np.exp(-logits[f"{behavior}_{name}"]))
        labels[behavior] = y
    return pa.table({"x": pa.array(list(x)), "segment": group, **labels}), logits


def study_of(seed: int, num_rows: int) -> tuple[Study, dict[str, float]]:
    """The study, and the AUC of the truth itself in every group of the test rows."""
    truth, rng = Truth(seed), np.random.default_rng(1000 + seed)
    train, _ = rows(truth, {name: int(num_rows * share) for name, share in GROUPS.items()}, rng)
    valid, _ = rows(truth, dict.fromkeys(GROUPS, 2000), rng)
    test, logits = rows(truth, dict.fromkeys(GROUPS, 5000), rng)
    grid = TaskGrid([Task(name) for name in BEHAVIORS], {name: name for name in GROUPS}, "segment")
    features = (Numeric("x", size=WIDTH, transform=None), Categorical("segment", vocabulary=tuple(GROUPS), dim=4))
    group = np.asarray(test["segment"].to_pylist())
    best = {
        task: exact.auc(np.asarray(test[behavior])[group == name], logits[task].astype("float32"))
        for behavior, tasks in grid.cells.items()
        for name, task in tasks.items()
    }
    best_of = {name: float(np.mean([best[tasks[name]] for tasks in grid.cells.values()])) for name in GROUPS}
    return Study("synthetic", shares(grid, train), features, train, valid, test), best_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("docs/studies/data/mfh_study.json"))
    options = parser.parse_args()

    drawn = [study_of(seed, options.rows) for seed in range(options.seeds)]
    studies, best = [study for study, _ in drawn], [best_of for _, best_of in drawn]
    truth = {name: round(float(np.mean([of[name] for of in best])), 4) for name in GROUPS}
    settings = {"train_rows": options.rows}
    kept = compare(studies, options.out, settings, epochs=options.epochs, tell=print)
    print(f"\n{table(kept)}\n\nAUC of the true logits: {truth}")


if __name__ == "__main__":
    main()

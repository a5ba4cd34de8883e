"""Models that know the scenario of a row against a flat PLE, by the scenarios of KuaiRand-Pure: AUC of every `tab`.

    python benchmarks/scenarios.py --data KuaiRand-Pure/data       # the folder of the published CSV files, or of the same tables as Parquet
    python benchmarks/scenarios.py --table                         # what --out holds, as Markdown

Rows, features, settings and most contestants are those of `kuairand.py`, whose `--folder` of finished runs serves both. `tab`, the part of the
app in which a video was shown, is a feature of every model. MFH has a task for each behaviour in each of the larger tabs, and is trained
as it is served: a row is answered, and paid for, by the towers of its tab. Judged are the tabs with `--positives` positives or more on
the test day, beside all rows. `docs/studies/scenarios.md` says what was found.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
from pathlib import Path
from typing import Any

import numpy as np
from kuairand import DROPOUT, TOWER, TWINS, UNITS, arguments, asked, compared, keep
from kuairand import contestants as known
from study_rows import paired

from tfmtl.analysis import Contestant
from tfmtl.analysis.comparing.parts import held_parts
from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.metrics import exact
from tfmtl.models import mfh, routed
from tfmtl.schema import Categorical, Schema, TaskGrid

TABS = (0, 1, 2, 4, 6)
"""Those with 5,000 rows or more in the log, 97 % of it; rows of others are answered by the mean over these."""

FLAT, ALL = "PLE, normalised", "all"


def of_mfh(schema: Schema) -> keras.Model:
    grid = TaskGrid(schema.tasks, {f"tab{tab}": tab for tab in TABS}, "tab")
    cells = Schema(schema.features, grid.tasks)
    sizes: dict[str, Any] = {"root_units": UNITS[:1], "facet_units": UNITS, "leaf_units": UNITS[-1]}
    model = mfh(cells, grid, **sizes, tower_units=TOWER, tower_dropout=DROPOUT)
    return routed(model, cells, grid)


def contestants() -> dict[str, Contestant]:
    """The flat model, and those to whom the tab is more than a feature."""
    by_tab = ("STAR by tab, normalised", "STAR by tab above PLE, normalised", "PEPNet, normalised")
    found = {name: known()[name] for name in (FLAT, *by_tab)}
    return {**found, "MFH, behaviours x tabs, normalised": Contestant(of_mfh, normalize=True)}


def predicted(folder: Path, name: str, task: str, seed: int, labels: np.ndarray, auc: float) -> np.ndarray:
    """What the run of that name predicted of the test rows: the one in the folder with that AUC."""
    for file in sorted(folder.glob("*.json")):
        held = json.loads(file.read_text())
        if held["depends_on"]["name"] == name and held["run"]["seed"] == seed and task in held["tasks"]:
            found = np.load(file.with_suffix(".npy"))[held["tasks"].index(task)].astype("float64")
            if len(found) == len(labels) and abs(exact.auc(labels, found) - auc) < 1e-9:
                return found
    raise SystemExit(f"{folder} holds no run of {name!r}, seed {seed}, that fits the report")


def kept_rows(schema: Schema, test: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Labels by task, and the tab, of the test rows in the order in which `compare` keeps them."""
    columns = sorted(inputs_by_name(known()[FLAT].make(schema)))
    rows = held_parts(schema, columns, {"test": test}, None, "user_id")["test"]
    ids = [batch[0]["tab"] for batch in rows.batches(8192, ["tab"], schema.task_names).as_numpy_iterator()]
    feature = schema.feature("tab")
    names = feature.vocabulary if isinstance(feature, Categorical) else ()
    return dict(rows.labels), np.array([-1, *(names or ())])[np.concatenate(ids)]


def places(tabs: np.ndarray, labels: np.ndarray, least: int) -> dict[str, np.ndarray]:
    """`{name: its rows}` of all rows, and of each tab with `least` positives and as many negatives."""
    found = {ALL: np.ones(len(tabs), bool)}
    for tab in np.unique(tabs):
        rows = tabs == tab
        if min((labels[rows] == 1).sum(), (labels[rows] == 0).sum()) >= least:
            found[str(tab)] = rows
    return found


def table(found: dict[str, Any]) -> str:
    """By task and tab: the AUC of all, and of those that know the tab the gain over the flat PLE with its interval over seeds."""
    lines = []
    for task, tabs in found["auc"].items():
        lines += [f"| {task} | {' | '.join(f'tab {tab}' if tab != ALL else 'all rows' for tab in tabs)} |"]
        lines += ["|---" * (len(tabs) + 1) + "|"]
        rows = [f"{count['positives']:,} of {count['rows']:,}" for count in found["counts"][task].values()]
        lines.append(f"| positives | {' | '.join(rows)} |")
        for name in found["names"]:
            cells = []
            for tab in tabs:
                ours, flat = tabs[tab][name], tabs[tab][FLAT]
                gain = "" if name in (TWINS, FLAT) else f" ({paired(ours, flat)})"
                cells.append(f"{np.mean(ours):.4f}{gain}")
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--positives", type=int, default=40, help="on the test day, of a tab that is judged")
    options = asked(parser, "docs/studies/data/scenarios.json", table)
    report, schema, test = compared(options, contestants())
    of_tasks, tabs = kept_rows(schema, test)
    names, seeds = [TWINS, *report.contestants], range(1, options.seeds + 1)
    found: dict[str, Any] = {"settings": report.settings, "names": names, "auc": {}, "counts": {}}
    for task in schema.tasks:
        labels = of_tasks[task.name]
        judged = places(tabs, labels, options.positives)
        found["counts"][task.name] = {
            tab: {"rows": int(rows.sum()), "positives": int(labels[rows].sum())} for tab, rows in judged.items()
        }
        by_tab: dict[str, Any] = {tab: {name: [] for name in names} for tab in judged}
        for name in names:
            for seed in seeds:
                auc = report.figures[name][task.name]["auc"][seed]
                said = predicted(options.folder, name, task.name, seed, labels, auc)
                for tab, rows in judged.items():
                    by_tab[tab][name].append(float(exact.auc(labels[rows], said[rows])))
        found["auc"][task.name] = by_tab
    keep(found, options.out)
    print(table(found))


if __name__ == "__main__":
    main()

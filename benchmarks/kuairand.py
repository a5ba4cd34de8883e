"""Does sharing help on KuaiRand-Pure? Single-task twins, fifteen models, two ways of weighing and three balancers.

    python benchmarks/kuairand.py --data KuaiRand-Pure/data     # the folder of the published CSV files, or of the same tables as Parquet
    python benchmarks/kuairand.py --data ... --seeds 1 --only "PLE;MMoE"
    python benchmarks/kuairand.py --data ... --pooled --out docs/studies/data/kuairand_pooled.json    # a fifth task: comment or follow
    python benchmarks/kuairand.py --table                             # what --out holds, as Markdown

Trained on 25 April to 4 May 2022, epochs chosen by the mean validation AUC of 5 May, reported on 6 May. Finished runs are kept in
`--folder`; the figures go to `docs/studies/data/kuairand.json` and the report to `--report`. `docs/studies/kuairand.md` says what was
found.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import tensorflow as tf

import tfmtl
from tfmtl.analysis import Comparison, Contestant, compare
from tfmtl.data import kuairand
from tfmtl.keras_host import keras
from tfmtl.models import (
    adatt,
    aitm,
    dbmtl,
    dselect_k,
    dtrn,
    escm2,
    home,
    mmoe,
    pepnet,
    ple,
    shared_bottom,
    single_task,
    snr,
    star,
    stem_net,
)
from tfmtl.schema import Schema, Task
from tfmtl.stages import STARHead
from tfmtl.training.balancing import DBMTL, CAGrad, UncertaintyWeighting

TWINS = "single-task twins"
UNITS, TOWER, DROPOUT = (64, 32), (16,), 0.2
CHAIN = ("click", "long_view")
PRIORS = ("user_active_degree", "video_id", "author_id")
"""Of the user the degree of activity stands for the id, which is no feature here (`prepared`)."""

POOLED, POOLED_FROM = "comment_or_follow", ("is_comment", "is_follow")

Make = Callable[[Schema], keras.Model]


def twin(schema: Schema) -> keras.Model:
    return single_task(schema, units=UNITS, tower_units=TOWER, dropout=DROPOUT)


def of_mmoe(schema: Schema) -> keras.Model:
    return mmoe(schema, units=UNITS, num_experts=4, tower_units=TOWER, dropout=DROPOUT)


def of_bottom(schema: Schema) -> keras.Model:
    return shared_bottom(schema, units=UNITS, tower_units=TOWER, dropout=DROPOUT)


def of_ple(schema: Schema) -> keras.Model:
    return ple(schema, units=UNITS, tower_units=TOWER, dropout=DROPOUT)


def of_stem(schema: Schema) -> keras.Model:
    return stem_net(schema, units=UNITS, num_shared_experts=2, gate_units=(32,), tower_units=TOWER, dropout=DROPOUT)


def of_aitm(schema: Schema) -> keras.Model:
    return aitm(schema, CHAIN, units=UNITS, tower_units=TOWER, dropout=DROPOUT)


def of_dtrn(schema: Schema) -> keras.Model:
    return dtrn(schema, target="video_id", units=UNITS, tower_units=TOWER)


def of_dtrn_with_ple(schema: Schema) -> keras.Model:
    return dtrn(schema, target="video_id", trunk=tfmtl.PLE(UNITS, dropout=DROPOUT), tower_units=TOWER)


def of_adatt(schema: Schema) -> keras.Model:
    return adatt(schema, units=UNITS, tower_units=TOWER, dropout=DROPOUT)


def of_home(schema: Schema) -> keras.Model:
    tasks = schema.task_names
    groups = {"watch": [task for task in tasks if task in CHAIN], "act": [task for task in tasks if task not in CHAIN]}
    return home(schema, groups=groups, units=UNITS, tower_units=TOWER, dropout=DROPOUT)


def of_dselect_k(schema: Schema) -> keras.Model:
    return dselect_k(schema, units=UNITS, num_experts=4, num_selected=2, tower_units=TOWER, dropout=DROPOUT)


def of_snr(schema: Schema) -> keras.Model:
    return snr(schema, units=UNITS, num_subnetworks=4, tower_units=TOWER, dropout=DROPOUT)


def of_star(schema: Schema) -> keras.Model:
    return star(schema, "tab", tower_units=(*UNITS, *TOWER), tower_dropout=DROPOUT)


def of_star_above_ple(schema: Schema) -> keras.Model:
    """The trunk of PLE, whose towers alone know the tab."""
    bottom = tfmtl.SharedBottomRepresentation(schema.features, schema.task_names, scenario="tab")
    return tfmtl.build(
        schema, bottom, tfmtl.PLE(UNITS, dropout=DROPOUT), STARHead(schema.tasks, units=TOWER), name="star_ple"
    )


def of_pepnet(schema: Schema) -> keras.Model:
    return pepnet(schema, ["tab"], PRIORS, tower_units=(*UNITS, *TOWER), domain_units=32, tower_dropout=DROPOUT)


def of_dbmtl(schema: Schema) -> keras.Model:
    """Each task depends on those declared before it: click, long_view, like, profile_enter."""
    return dbmtl(schema, units=UNITS, tower_units=TOWER, relation_units=TOWER, dropout=DROPOUT)


def of_escm2(schema: Schema) -> keras.Model:
    return escm2(schema, CHAIN, units=UNITS, tower_units=TOWER, dropout=DROPOUT)


def contestants() -> dict[str, Contestant]:
    """By name; "normalised" divides each loss by that of always answering the base rate."""
    models: dict[str, Make] = {"shared-bottom": of_bottom, "MMoE": of_mmoe, "PLE": of_ple, "STEM-Net": of_stem}
    found = {}
    for name, make in models.items():
        found[name] = Contestant(make, normalize=False)
        found[f"{name}, normalised"] = Contestant(make, normalize=True)
    field: dict[str, Make] = {"AdaTT": of_adatt, "HoME": of_home, "DSelect-k": of_dselect_k, "SNR": of_snr}
    field |= {"STAR by tab": of_star, "STAR by tab above PLE": of_star_above_ple, "PEPNet": of_pepnet}
    field |= {"DBMTL's head": of_dbmtl, "ESCM2, click to long_view": of_escm2}
    for name, make in field.items():
        found[f"{name}, normalised"] = Contestant(make, normalize=True)
    found["AITM, click to long_view, normalised"] = Contestant(of_aitm, normalize=True)
    found["DTRN, normalised"] = Contestant(of_dtrn, normalize=True)
    found["DTRN with PLE"] = Contestant(of_dtrn_with_ple, normalize=False)
    found["DTRN with PLE, normalised"] = Contestant(of_dtrn_with_ple, normalize=True)
    found["DTRN with PLE, CAGrad"] = Contestant(of_dtrn_with_ple, normalize=True, balancer=CAGrad(every=10))
    for balancer in (UncertaintyWeighting(), CAGrad(every=10), DBMTL(every=10)):
        found[f"PLE, {type(balancer).__name__}"] = Contestant(of_ple, normalize=True, balancer=balancer)
    return found


def prepared(options: Any) -> tuple[Schema, Any, Any, Any]:
    """The adapted schema and the three parts."""
    split = kuairand(options.data, length=options.length)
    # A table of users learns the rows of users by heart within two epochs; their rates stay.
    features = [feature for feature in split.schema.features if feature.name != "user_id"]
    schema = replace(split.schema, features=tuple(features))
    parts = [split.train, split.valid, split.test]
    if options.pooled:
        schema = replace(schema, tasks=(*schema.tasks, Task(POOLED)))
        parts = [
            part.append_column(POOLED, pc.max_element_wise(*(part[name] for name in POOLED_FROM))) for part in parts
        ]
    schema = tfmtl.adapt(schema, tfmtl.read(parts[0], schema, batch_size=8192))
    return schema, *parts


def table(found: dict[str, Any]) -> str:
    """Test AUC of every task and what it gains over its twin, with the wider of the two 95 % intervals; then other figures."""
    tasks = list(found["tasks"])
    names = [TWINS, *found["contestants"]]

    def mean(name: str, task: str, figure: str) -> float:
        return statistics.mean(found["figures"][name][task][figure].values())

    lines = [f"| test AUC | {' | '.join(tasks)} |", "|---" * (len(tasks) + 1) + "|"]
    for name in names:
        cells = []
        for task in tasks:
            gain = found["gains"].get(name, {}).get(task)
            told = "" if gain is None else f" ({gain['mean']:+.4f} {_interval(gain)}{_mark(gain)})"
            cells.append(f"{mean(name, task, 'auc'):.4f}{told}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"| log loss; calibration; per-user AUC | {' | '.join(tasks)} |", "|---" * (len(tasks) + 1) + "|"]
    for name in names:
        figures = [[mean(name, task, figure) for figure in ("logloss", "calibration", "gauc")] for task in tasks]
        cells = [f"{logloss:.4f}; {calibration:.2f}; {gauc:.4f}" for logloss, calibration, gauc in figures]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(gain: dict[str, Any]) -> str:
    intervals = [one for one in (gain["over_seeds"], gain["over_rows"]) if one]
    low, high = max(intervals, key=lambda one: one[1] - one[0])
    return f"[{low:+.4f}, {high:+.4f}]"


def _mark(gain: dict[str, Any]) -> str:
    """Whether both intervals lie on one side of 0."""
    intervals = [one for one in (gain["over_seeds"], gain["over_rows"]) if one]
    return " ▲" if all(low > 0 for low, _ in intervals) else " ▼" if all(high < 0 for _, high in intervals) else ""


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every study on these rows can be told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="the folder of KuaiRand-Pure")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--length", type=int, default=20, help="events of a history")
    parser.add_argument("--only", type=lambda text: text.split(";"), help="names of contestants, between semicolons")
    parser.add_argument(
        "--pooled", action="store_true", help="a fifth task, comment or follow; keep it apart with --folder and --out"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/kuairand"))
    return parser


def compared(options: Any, known: dict[str, Contestant]) -> tuple[Comparison, Schema, Any]:
    """The report on those of `known` that are asked for, the schema, and the test rows."""
    if options.data is None:
        raise SystemExit("--data is needed: the folder of KuaiRand-Pure")
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    schema, train, valid, test = prepared(options)
    report = compare(
        schema,
        {name: one for name, one in known.items() if options.only is None or name in options.only},
        train,
        valid,
        test,
        twin=twin,
        seeds=options.seeds,
        epochs=options.epochs,
        batch_size=options.batch,
        patience=1,
        learning_rates=(options.rate,),
        group="user_id",
        folder=options.folder,
    )
    return report, schema, test


def asked(parser: argparse.ArgumentParser, out: str, table: Callable[[dict[str, Any]], str]) -> Any:
    """The options, with the file that keeps what is found; ends the script where only its table is asked for."""
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--table", action="store_true", help="only print what --out holds")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.out.read_text())))
        raise SystemExit
    return options


def keep(found: dict[str, Any], file: Path) -> None:
    """Writes what was found."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--report", type=Path, default=Path("runs/kuairand.html"))
    options = asked(parser, "docs/studies/data/kuairand.json", table)
    report, _, _ = compared(options, contestants())
    print(report)
    keep(
        {name: value for name, value in report.to_dict().items() if name not in ("curves", "calibration")}, options.out
    )
    options.report.parent.mkdir(parents=True, exist_ok=True)
    report.to_html(options.report)


if __name__ == "__main__":
    main()

"""STEM-Net where one embedding of a user cannot serve two tasks: comparable users, and those who lean to one task.

    python benchmarks/stem_synthetic.py                     # some minutes on one core; writes docs/studies/data/stem.json
    python benchmarks/stem_synthetic.py --seeds 1 --epochs 2 --models PLE STEM-Net
    python benchmarks/stem_synthetic.py --table             # the tables of what the JSON holds

The rows are those of `tfmtl.data.synthetic.multi_behavior`, without their histories: a model sees who the user is and what
the item is, and has to learn the user's favourites, which are others in what the user clicks than in what the user likes.
Test rows are cut by `tfmtl.analysis.FeedbackBalance` into thirds of the users.
"""

from pathlib import Path
from typing import Any

import numpy as np
from contestants import Maker, Parts, Values, aucs, compare, load, parser, spread
from ple_synthetic import arrays

import tfmtl
from tfmtl import Categorical, Schema, Task
from tfmtl.analysis import FeedbackBalance
from tfmtl.data import synthetic
from tfmtl.keras_host import keras

TASKS = ("click", "like")
PARTS = ("all", "click_dominant", "comparable", "like_dominant")
REFERENCE = "PLE"
DIM = 8
SIZES = {"units": (64, 32), "tower_units": (16,), "gate_units": (), "num_task_experts": 1, "num_shared_experts": 2}


def twins(schema: Schema) -> keras.Model:
    """A model for each task, tables and all, as one."""
    inputs, outputs = tfmtl.models.encoded_inputs(schema.features), {}
    for task in schema.task_names:
        alone = schema.with_tasks([task])
        bottom = tfmtl.SharedBottomRepresentation(alone.features, [task])
        head = tfmtl.Towers(alone.tasks, units=SIZES["tower_units"])
        model = tfmtl.build(alone, bottom, tfmtl.SingleTask(SIZES["units"]), head, name=f"{task}_alone")
        outputs |= model(inputs)
    return keras.Model(inputs, outputs)


MODELS: dict[str, Maker] = {
    "single-task": twins,
    REFERENCE: lambda s: tfmtl.models.ple(s, **{**SIZES, "units": [SIZES["units"]]}),
    "one wide table": lambda s: tfmtl.models.stem_single_table(s, **SIZES),
    "ME-PLE": lambda s: tfmtl.models.me_ple(s, **SIZES),
    "STEM-Net": lambda s: tfmtl.models.stem_net(s, **SIZES),
}


def data(options: Any, seed: int) -> tuple[Schema, Parts, Any, dict[str, float]]:
    users = options.users
    drawn = synthetic.multi_behavior(
        options.rows + 2 * options.test_rows, users=users, group_spread=0.2, user_spread=1.0, seed=seed
    )
    fields = [Categorical("user_id", num_ids=users, dim=DIM, side="user")]
    schema = Schema([*fields, *map(drawn.schema.feature, synthetic.ATTRIBUTES)], [Task(name) for name in TASKS])
    drawn = synthetic.Synthetic(drawn.rows, schema, {task: drawn.truth[task] for task in TASKS})
    first, rest = drawn.split(options.rows)
    samples = dict(zip(("train", "valid", "test"), (first, *rest.split(options.test_rows)), strict=True))
    parts = {name: arrays(sample) for name, sample in samples.items()}
    x, y = parts["test"]
    part_of = FeedbackBalance(parts["train"], schema, tasks=TASKS, group="user_id")(x)

    def report(predictions: Values) -> dict[str, float]:
        found = {}
        for part in PARTS:
            rows = part_of == part if part != "all" else np.ones(len(part_of), bool)
            inside = [{task: values[rows] for task, values in of.items()} for of in (predictions, y)]
            found |= {f"{part}/{task}": auc for task, auc in aucs(*inside).items()}
        return found

    return schema, parts, report, report({task: of.astype("float32") for task, of in samples["test"].truth.items()})


def table(found: dict[str, Any]) -> str:
    """For each task the AUC of every slice, and how far it is from PLE's, seed by seed."""
    blocks = []
    for task in TASKS:
        lines = [f"| {task} | parameters | {' | '.join(PARTS)} |", "|---" * (len(PARTS) + 2) + "|"]
        for name, runs in found["runs"].items():
            cells = []
            for part in PARTS:
                own, other = (
                    np.array([run["test"][f"{part}/{task}"] for run in of]) for of in (runs, found["runs"][REFERENCE])
                )
                gain = "" if name == REFERENCE else f" ({spread(own - other, '+')})"
                cells.append(f"{own.mean():.4f}{gain}")
            lines.append(f"| {name} | {runs[0]['parameters']:,} | {' | '.join(cells)} |")
        best = [f"{np.mean([of[f'{part}/{task}'] for of in found['truth']]):.4f}" for part in PARTS]
        blocks.append("\n".join([*lines, f"| the truth | | {' | '.join(best)} |"]))
    return "\n\n".join(blocks)


def main() -> None:
    options = parser(
        __doc__,
        MODELS,
        seeds=3,
        rows=60_000,
        test_rows=30_000,
        users=300,
        epochs=10,
        batch=512,
        rate=5e-3,
        out=Path("docs/studies/data/stem.json"),
    ).parse_args()
    found = load(options.out) if options.table else compare(MODELS, options, lambda seed: data(options, seed))
    print(table(found))


if __name__ == "__main__":
    main()

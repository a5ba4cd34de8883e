"""DTRN against one transformer for all tasks, on three sets of which the truth is known.

    python benchmarks/dtrn_synthetic.py                         # writes docs/studies/data/dtrn_crossed.json
    python benchmarks/dtrn_synthetic.py --data own              # writes docs/studies/data/dtrn_own.json
    python benchmarks/dtrn_synthetic.py --data own_labelled     # writes docs/studies/data/dtrn_own_labelled.json
    python benchmarks/dtrn_synthetic.py --seeds 1 --epochs 2 --models "DTRN" "shared transformer"
    python benchmarks/dtrn_synthetic.py --table                 # the table of what the JSON holds

`crossed`: every task reads every history, each by another attribute, so that no attribute serves two pairs of task and
history in one row or column of this table:

    | | viewed | liked | carted |
    |---|---|---|---|
    | click | category | brand | price |
    | like | brand | price | category |
    | buy | price | category | brand |

Each event has a verdict, good or bad. What counts for a task is the mean verdict of the events that have the item's value
of the attribute in the table.

`own`: `tfmtl.data.synthetic.multi_behavior`, where every task goes by a history and an attribute of its own; buys are labelled
on the rows with a click alone. `own_labelled`: the same with every task labelled on every row.

The contestants differ in what the hypernetwork reads. `shared transformer` reads nothing: one transformer with one set of
layer normalisations for all tasks and behaviours, the paper's DTRN without its extractor.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from contestants import Maker, Parts, Values, aucs, compare, keras, load, parser, spread
from ple_synthetic import arrays

from tfmtl.data import synthetic
from tfmtl.data.synthetic import ATTRIBUTES, BEHAVIORS, READINGS, Synthetic
from tfmtl.models import presets
from tfmtl.schema import Categorical, Schema, Sequence, Task

REFERENCE = "shared transformer"
VALUES, LENGTH, WIDTH, STRENGTH = 4, 10, 4, 1.5


def attribute_of(task: int, behavior: int) -> int:
    """What a task reads a history by."""
    return (task + behavior) % len(ATTRIBUTES)


def crossed(rows: int, *, seed: int) -> Synthetic:
    """`logit_t = STRENGTH sum_s mean(verdict of the events in s that match the item in attribute_of(t, s))`."""
    rng = np.random.default_rng(seed)
    item = rng.integers(VALUES, size=(rows, len(ATTRIBUTES)))
    events = rng.integers(VALUES, size=(rows, len(BEHAVIORS), len(ATTRIBUTES), LENGTH))
    verdict = rng.integers(2, size=(rows, len(BEHAVIORS), LENGTH))
    present = np.arange(LENGTH) < rng.integers(0, LENGTH + 1, size=(rows, len(BEHAVIORS)))[..., None]
    truth = {}
    for t, task in enumerate(READINGS):
        logit = np.zeros(rows)
        for s in range(len(BEHAVIORS)):
            a = attribute_of(t, s)
            matches = (events[:, s, a] == item[:, a, None]) & present[:, s]
            logit += STRENGTH * ((2 * verdict[:, s] - 1) * matches).sum(-1) / np.maximum(matches.sum(-1), 1)
        truth[task] = 1 / (1 + np.exp(-logit))
    columns: dict[str, Any] = {attribute: item[:, a] for a, attribute in enumerate(ATTRIBUTES)}
    for s, behavior in enumerate(BEHAVIORS):
        offsets = np.concatenate([[0], present[:, s].sum(-1).cumsum()]).astype("int32")
        for name, values in (*zip(ATTRIBUTES, events[:, s].swapaxes(0, 1), strict=True), ("verdict", verdict[:, s])):
            columns[f"{behavior}_{name}"] = pa.ListArray.from_arrays(offsets, values[present[:, s]])
    columns |= {task: (rng.random(rows) < chance).astype("int64") for task, chance in truth.items()}
    shown = [Categorical(name, num_ids=VALUES, dim=WIDTH, table=name, side="item") for name in ATTRIBUTES]
    fields = (*shown, Categorical("verdict", num_ids=2, dim=WIDTH))
    histories = [Sequence(behavior, fields, length=LENGTH, side="user") for behavior in BEHAVIORS]
    return Synthetic(pa.table(columns), Schema([*shown, *histories], [Task(task) for task in READINGS]), truth)


def own_labelled(rows: int, *, seed: int) -> Synthetic:
    """`multi_behavior` with a label for every task in every row, drawn from the same truth."""
    drawn = synthetic.multi_behavior(rows, user_spread=0, seed=seed)
    buy = (np.random.default_rng([seed, 1]).random(rows) < drawn.truth["buy"]).astype("int64")
    labelled = drawn.rows.set_column(drawn.rows.schema.get_field_index("buy"), "buy", [buy])
    return Synthetic(labelled, Schema(drawn.schema.features, [Task(task) for task in READINGS]), drawn.truth)


DRAWN: dict[str, Callable[..., Synthetic]] = {
    "crossed": crossed,
    "own": partial(synthetic.multi_behavior, user_spread=0),
    "own_labelled": own_labelled,
}


def dtrn(schema: Schema, condition_on: str, **options: Any) -> keras.Model:
    """DTRN with a hypernetwork that reads `condition_on`; the item is what the histories are searched for.

    As wide as an event, so that no history has a projection of its own, which would tell histories apart without DTRN.
    """
    width = sum(field.dim for field in schema.feature(BEHAVIORS[0]).fields)
    return presets.dtrn(
        schema,
        target=ATTRIBUTES,
        dim=width,
        condition_on=condition_on,
        ffn_units=width,
        units=(32,),
        tower_units=(16,),
        # Spread enough for attention to tell values apart from the first step on.
        embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0),
        **options,
    )


MODELS: dict[str, Maker] = {
    "DTRN": partial(dtrn, condition_on="task+behavior"),
    "task alone": partial(dtrn, condition_on="task"),
    "behaviour alone": partial(dtrn, condition_on="behavior"),
    REFERENCE: partial(dtrn, condition_on="none"),
    "DTRN without TaskSENet": partial(dtrn, condition_on="task+behavior", refine=False),
    f"{REFERENCE} without TaskSENet": partial(dtrn, condition_on="none", refine=False),
}


def data(options: Any, seed: int) -> tuple[Schema, Parts, Any, dict[str, float]]:
    drawn = DRAWN[options.data](options.rows + 2 * options.test_rows, seed=seed)
    first, rest = drawn.split(options.rows)
    samples = dict(zip(("train", "valid", "test"), (first, *rest.split(options.test_rows)), strict=True))
    parts = {name: arrays(sample) for name, sample in samples.items()}

    def report(predictions: Values) -> dict[str, float]:
        return aucs(predictions, parts["test"][1])

    truth = report({task: values.astype("float32") for task, values in samples["test"].truth.items()})
    return drawn.schema, parts, report, truth


def table(found: dict[str, Any]) -> str:
    """Test AUC as Markdown, and how far each contestant is from the shared transformer, seed by seed."""
    tasks = list(READINGS)
    test = {name: np.array([[run["test"][t] for t in tasks] for run in runs]) for name, runs in found["runs"].items()}
    lines = [
        f"| | parameters | {' | '.join(tasks)} | mean | against the {REFERENCE} |",
        "|---" * (len(tasks) + 4) + "|",
    ]
    for name, auc in test.items():
        size = f"{found['runs'][name][0]['parameters']:,}"
        # Seed by seed, as far as both were run.
        gain = "" if name == REFERENCE else spread((auc - test[REFERENCE][: len(auc)]).mean(1), "+")
        cells = [size, *(spread(auc[:, t]) for t in range(len(tasks))), spread(auc.mean(1)), gain]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    best = np.array([[of[task] for task in tasks] for of in found["truth"]])
    cells = [*(f"{best[:, t].mean():.4f}" for t in range(len(tasks))), f"{best.mean():.4f}"]
    return "\n".join([*lines, f"| the truth | | {' | '.join(cells)} | |"])


def main() -> None:
    made = parser(__doc__, MODELS, seeds=3, rows=40_000, test_rows=10_000, epochs=6, batch=256, rate=5e-3)
    made.add_argument("--data", choices=list(DRAWN), default="crossed")
    made.add_argument("--out", type=Path, help="default: docs/studies/data/dtrn_DATA.json")
    options = made.parse_args()
    options.out = options.out or Path(f"docs/studies/data/dtrn_{options.data}.json")
    found = load(options.out) if options.table else compare(MODELS, options, lambda seed: data(options, seed))
    print(table(found))


if __name__ == "__main__":
    main()

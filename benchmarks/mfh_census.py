"""MFH against flat PLE and single trees on Census-Income: income and never-married, by sex and by age.

    python benchmarks/mfh_census.py                         # 3 seeds of each grid, some minutes on one core; downloads the rows once
    python benchmarks/mfh_census.py --data FOLDER --seeds 1 --rows 5000 --epochs 1

Each seed trains on another random part of the official training rows. Age is no column of groups: a user makes one, as
`with_age_band` does, and the people of 75 and more are the small group.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
from mfh_study import Study, compare, shares, table

import tfmtl
from tfmtl.data import census_income
from tfmtl.schema import Task, TaskGrid

BANDS = ((0, "young"), (25, "middle"), (75, "old"))
VALID_ROWS = 10_000
GRIDS = ("census by sex", "census by age")


def with_age_band(people: pa.Table) -> pa.Table:
    """`people` with a column that says young (below 25), middle, or old (75 and more)."""
    edges, names = zip(*BANDS, strict=True)
    place = np.searchsorted(edges, people["age"].to_numpy(), side="right") - 1
    return people.append_column("age_band", pa.array(np.array(names)[place]))


def grids(behaviors: tuple[Task, ...]) -> dict[str, TaskGrid]:
    """The grids by the name of their study."""
    return {
        "census by sex": TaskGrid(behaviors, {"female": "Female", "male": "Male"}, "sex"),
        "census by age": TaskGrid(behaviors, {name: name for _, name in BANDS}, "age_band"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the published files; without it they are downloaded once")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--out", type=Path, default=Path("docs/studies/data/mfh_study.json"))
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=list(GRIDS), metavar="NAME")
    options = parser.parse_args()

    split = census_income(options.data, dim=8)
    people, valid, test = (with_age_band(part) for part in (split.train, split.valid, split.test))
    schema = tfmtl.adapt(split.schema, tfmtl.read(people, split.schema, batch_size=8192))
    orders = [np.random.default_rng(seed).permutation(people.num_rows)[: options.rows] for seed in range(options.seeds)]
    known = grids(split.schema.tasks)
    for name in options.grids:
        weighted = shares(known[name], people)
        studies = [
            Study(name, weighted, schema.features, people.take(order), valid.slice(0, VALID_ROWS), test)
            for order in orders
        ]
        settings = {"train_rows": options.rows}
        kept = compare(studies, options.out, settings, epochs=options.epochs, tell=print)
        print(f"\n## {name}\n\n{table(kept)}\n")


if __name__ == "__main__":
    main()

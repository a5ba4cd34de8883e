"""Rows in the files of Census-Income, drawn by hand-made rules: income rises with age, education and weeks worked."""

from pathlib import Path

import numpy as np

from tfmtl.data.datasets.census_income import COLUMNS

EDUCATION = ("Children", "High school graduate", "Bachelors degree(BA AB BS)", "Doctorate degree(PhD EdD)")
FIXED = {"hispanic_origin": "NA", "country_of_birth_self": "?", "citizenship": "Native- Born in the United States"}


def write_census(folder: Path, *, train: int = 2000, test: int = 1000) -> Path:
    """`folder` with `census-income.data` and `census-income.test`, as the archive holds them: no header, a space before each value."""
    folder.mkdir(exist_ok=True)
    for seed, (name, count) in enumerate((("data", train), ("test", test))):
        columns = _columns(np.random.default_rng(seed), count)
        lines = [", ".join(row) + "." for row in zip(*(columns[name] for name in COLUMNS), strict=True)]
        (folder / f"census-income.{name}").write_text("\n".join(lines) + "\n")
    return folder


def _columns(random: np.random.Generator, count: int) -> dict[str, list[str]]:
    age, weeks = random.integers(0, 91, count), random.integers(0, 53, count)
    education = random.integers(0, len(EDUCATION), count)
    score = 0.03 * age + 0.03 * weeks + 0.8 * education - 5 + random.logistic(size=count)
    married = age + 8 * random.normal(size=count) > 30
    texts = {
        **{name: random.choice(["Not in universe", "Private", "Yes"], count) for name in COLUMNS},
        **{name: np.full(count, value) for name, value in FIXED.items()},
        "age": age,
        "weeks_worked_in_year": weeks,
        "education": np.array(EDUCATION)[education],
        "marital_status": np.where(married, "Married-civilian spouse present", "Never married"),
        "sex": random.choice(["Female", "Male"], count),
        "wage_per_hour": random.integers(0, 3, count) * 500,
        **{name: np.where(random.random(count) < 0.1, 1000, 0) for name in ("capital_gains", "capital_losses")},
        "dividends_from_stocks": random.integers(0, 4, count) * 100,
        "detailed_industry_recode": random.integers(0, 52, count),
        "detailed_occupation_recode": random.integers(0, 47, count),
        "num_persons_worked_for_employer": random.integers(0, 7, count),
        **dict.fromkeys(("own_business_or_self_employed", "veterans_benefits"), random.integers(0, 3, count)),
        "year": random.integers(94, 96, count),
        "weight": np.round(random.uniform(40, 4000, count), 2),
        "income": np.where(score > 0, "50000+", "- 50000"),
    }
    return {name: [str(value) for value in values] for name, values in texts.items()}

"""Census-Income (KDD): 299,285 people of the US censuses of 1994 and 1995, two tasks on one table.

The split is the official one: 199,523 rows to train on and 99,762 to test on. 6.2 % earn more than 50,000 dollars; 43.3 %
were never married. Of the 42 original columns 34 are kept, named in snake_case; `weight` says how many people a row stands
for and is no feature.

U.S. Census Bureau: "Census-Income (KDD)", UCI Machine Learning Repository, 2000, https://doi.org/10.24432/C5N30T, licensed
under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/).

Example:

>>> from tfmtl.data import census_income, read
>>> schema = census_income.schema()
>>> train = read(census_income.train_path(), schema, batch_size=512, shuffle=True)
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from tfmtl.schema import Categorical, Feature, Numeric, Schema, Task

_FILES = Path(__file__).parent / "files"

_NUMBERS = (
    "age",
    "wage_per_hour",
    "capital_gains",
    "capital_losses",
    "dividends_from_stocks",
    "weeks_worked_in_year",
)
_CODES = ("num_persons_worked_for_employer", "own_business_or_self_employed", "veterans_benefits", "year")
_CATEGORIES = (
    "class_of_worker",
    "education",
    "enroll_in_edu_inst_last_wk",
    "major_industry_code",
    "major_occupation_code",
    "race",
    "hispanic_origin",
    "sex",
    "member_of_a_labor_union",
    "full_or_part_time_employment_stat",
    "tax_filer_stat",
    "region_of_previous_residence",
    "state_of_previous_residence",
    "detailed_household_and_family_stat",
    "detailed_household_summary_in_household",
    "live_in_this_house_1_year_ago",
    "family_members_under_18",
    "country_of_birth_father",
    "country_of_birth_mother",
    "country_of_birth_self",
    "citizenship",
)


def train_path() -> Path:
    """The Parquet file of the 199,523 rows to train on."""
    return _FILES / "census_income_train.parquet"


def test_path() -> Path:
    """The Parquet file of the 99,762 rows to test on."""
    return _FILES / "census_income_test.parquet"


def schema(*, dim: int = 16) -> Schema:
    """The 31 features and the two tasks of the PLE paper, to be adapted to the training rows.

    Numbers are quantile buckets: income depends on them in steps, and capital gains are zero for 96 % of the rows.

    Args:
        dim: width of every embedding.
    """
    features: list[Feature] = [Numeric(name, transform="buckets", dim=dim) for name in _NUMBERS]
    features += [Categorical(name, vocabulary="adapt", dtype="int64", dim=dim) for name in _CODES]
    features += [Categorical(name, vocabulary="adapt", dtype="string", dim=dim) for name in _CATEGORIES]
    return Schema(
        features,
        [Task("income", label=("income", "50000+")), Task("never_married", label=("marital_status", "Never married"))],
    )


def split_test(*, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """The rows to test on, halved at random: one half to choose settings with, one to report.

    The papers halve the official test file in this way without saying which rows go where.
    """
    table = pa_parquet.read_table(test_path())
    order = np.random.default_rng(seed).permutation(table.num_rows)
    half = len(order) // 2
    return table.take(np.sort(order[:half])), table.take(np.sort(order[half:]))

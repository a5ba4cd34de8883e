"""Census-Income (KDD): people of the US censuses of 1994 and 1995."""

from os import PathLike
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from tfmtl.data.datasets.published import Published, folder_of, missing_files
from tfmtl.data.datasets.split import Split
from tfmtl.progress import Verbose
from tfmtl.schema import Categorical, Feature, Numeric, Schema, Task

PUBLISHED = Published(
    name="census_income",
    url="https://archive.ics.uci.edu/static/public/117/census+income+kdd.zip",
    files=("census-income.data", "census-income.test"),
    page="https://doi.org/10.24432/C5N30T",
)
"""The archive; its publisher states no digest."""

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

_LEFT_OUT = (
    "detailed_industry_recode",
    "detailed_occupation_recode",
    "reason_for_unemployment",
    "migration_code_change_in_msa",
    "migration_code_change_in_reg",
    "migration_code_move_within_reg",
    "migration_prev_res_in_sunbelt",
    "fill_inc_questionnaire_for_veterans_admin",
)

COLUMNS = (
    "age",
    "class_of_worker",
    "detailed_industry_recode",
    "detailed_occupation_recode",
    "education",
    "wage_per_hour",
    "enroll_in_edu_inst_last_wk",
    "marital_status",
    "major_industry_code",
    "major_occupation_code",
    "race",
    "hispanic_origin",
    "sex",
    "member_of_a_labor_union",
    "reason_for_unemployment",
    "full_or_part_time_employment_stat",
    "capital_gains",
    "capital_losses",
    "dividends_from_stocks",
    "tax_filer_stat",
    "region_of_previous_residence",
    "state_of_previous_residence",
    "detailed_household_and_family_stat",
    "detailed_household_summary_in_household",
    "weight",
    "migration_code_change_in_msa",
    "migration_code_change_in_reg",
    "migration_code_move_within_reg",
    "live_in_this_house_1_year_ago",
    "migration_prev_res_in_sunbelt",
    "num_persons_worked_for_employer",
    "family_members_under_18",
    "country_of_birth_father",
    "country_of_birth_mother",
    "country_of_birth_self",
    "citizenship",
    "own_business_or_self_employed",
    "fill_inc_questionnaire_for_veterans_admin",
    "veterans_benefits",
    "weeks_worked_in_year",
    "year",
    "income",
)
"""The columns of the published files, in their order."""


def census_income(
    folder: str | PathLike[str] | None = None, *, dim: int = 16, seed: int = 0, verbose: Verbose = "auto"
) -> Split:
    """Reads Census-Income (KDD): does someone earn more than 50,000 dollars, and was someone never married?

    The two tasks and the 31 features of the PLE paper. 199,523 rows are to train on; the 99,762 of the official test file are
    halved at random, one half to choose settings with, one to report on, as the papers do without saying which rows go where. 6.2 %
    earn more, 43.3 % were never married. Of the 42 columns 34 are kept, in snake_case, without the spaces around texts and the full
    stop behind the income; `weight` says how many people a row stands for and is no feature. Numbers are quantile buckets: income
    depends on them in steps, and capital gains are zero for 96 % of the rows.

    U.S. Census Bureau, "Census-Income (KDD)", UCI Machine Learning Repository, 2000, https://doi.org/10.24432/C5N30T, CC BY 4.0.

    Args:
        folder: where `census-income.data` and `census-income.test` lie, packed with gzip or not, or the same as
            `census_income_train.parquet` and `census_income_test.parquet`. None downloads 9.8 MB, once, into `TFMTL_DATA` or the
            user's cache folder. The publisher states no digest: the first download is trusted, and later ones must equal it.
        dim: width of every embedding.
        seed: of the halving.
        verbose: whether the download shows its progress; `"auto"`: in a terminal.

    Returns:
        Schema and rows.

    Raises:
        FileNotFoundError: a folder that does not hold the files.
        ConnectionError: no network, or no answer.
        ValueError: a file without the columns of the data set, or another archive than the first.

    Example:

    ```python
    split = tfmtl.data.census_income()
    schema = tfmtl.adapt(split.schema, tfmtl.read(split.train, split.schema, batch_size=8192))
    ```
    """
    place = folder_of(PUBLISHED, folder, verbose)
    test = _rows(place, "test")
    order = np.random.default_rng(seed).permutation(test.num_rows)
    half = len(order) // 2
    valid, rest = (test.take(np.sort(part)) for part in (order[:half], order[half:]))
    return Split(_schema(dim), _rows(place, "train"), valid, rest)


def _schema(dim: int) -> Schema:
    features: list[Feature] = [Numeric(name, transform="buckets", dim=dim) for name in _NUMBERS]
    features += [Categorical(name, vocabulary="adapt", dtype="int64", dim=dim) for name in _CODES]
    features += [Categorical(name, vocabulary="adapt", dtype="string", dim=dim) for name in _CATEGORIES]
    return Schema(
        features,
        [Task("income", label=("income", "50000+")), Task("never_married", label=("marital_status", "Never married"))],
    )


def _rows(folder: Path, part: str) -> pa.Table:
    name = f"census-income.{'data' if part == 'train' else part}"
    known = [folder / f"census_income_{part}.parquet", folder / name, folder / f"{name}.gz"]
    file = next((each for each in known if each.is_file()), None)
    if file is None:
        raise missing_files(folder, [name], "Census-Income (KDD)", PUBLISHED.page)
    kept = [column for column in COLUMNS if column not in _LEFT_OUT]
    try:
        if file.suffix == ".parquet":
            return pa_parquet.read_table(file, columns=kept)
        return _tidy(_read_text(file, kept))
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise ValueError(f"{file} is no file of Census-Income (KDD) with {len(COLUMNS)} columns: {error}") from error


def _read_text(file: Path, kept: list[str]) -> pa.Table:
    texts = {name: pa.string() for name in COLUMNS}
    convert = pa_csv.ConvertOptions(include_columns=kept, column_types=texts)
    return pa_csv.read_csv(file, pa_csv.ReadOptions(column_names=list(COLUMNS)), convert_options=convert)


def _tidy(table: pa.Table) -> pa.Table:
    """Texts without the spaces around them, numbers as numbers."""
    for place, name in enumerate(table.column_names):
        column = pc.utf8_trim_whitespace(table[name])
        if name == "income":
            column = pc.utf8_rtrim(column, ".")
        elif name in (*_NUMBERS, *_CODES):
            column = pc.cast(column, pa.int64())
        elif name == "weight":
            column = pc.cast(column, pa.float64())
        table = table.set_column(place, name, column)
    return table

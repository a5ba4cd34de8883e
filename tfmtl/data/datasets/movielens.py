"""MovieLens 100K: ratings of films."""

from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from tfmtl.data.datasets.joined import joined
from tfmtl.data.datasets.published import Published, folder_of, missing_files
from tfmtl.data.datasets.split import Split
from tfmtl.progress import Verbose
from tfmtl.schema import Categorical, Feature, Schema, Sequence, Task
from tfmtl.typing import Side

PUBLISHED = Published(
    name="movielens_100k",
    url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
    files=("u.data", "u.item", "u.user", "README"),
    page="https://grouplens.org/datasets/movielens/100k/",
    digest="md5:0e33842e24a9c977be4e0107933c0723",
)

GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
"""The genres in the order of their columns in `u.item`."""

_RATINGS = {"user_id": pa.int64(), "item_id": pa.int64(), "rating": pa.int64(), "timestamp": pa.int64()}
_USERS = {
    "user_id": pa.int64(),
    "age": pa.int64(),
    "gender": pa.string(),
    "occupation": pa.string(),
    "zip_code": pa.string(),
}
_ITEMS = {
    "item_id": pa.int64(),
    "title": pa.string(),
    "released": pa.string(),
    **dict.fromkeys(("video_released", "imdb_url"), pa.string()),
    **dict.fromkeys(GENRES, pa.int64()),
}


def movielens(
    folder: str | PathLike[str] | None = None, *, dim: int = 16, min_count: int = 5, verbose: Verbose = "auto"
) -> Split:
    """Reads MovieLens 100K: how many stars does a user give a film, and does the user like it?

    `rating` is a regression on 1 to 5 stars, `liked` is binary: 4 stars or more. The first 80 % of the ratings, in the order of time,
    are to train on, the next 10 % to choose settings with, the last 10 % to report on. There are no impressions: whoever rates a film
    has chosen it.

    Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015, https://grouplens.org/datasets/movielens/.
    Its terms allow research and forbid passing it on, so it must be downloaded by whoever uses it.

    Args:
        folder: where `u.data`, `u.item` and `u.user` lie, as published, or the ratings joined with their columns as
            `movielens_100k.parquet`. None downloads 4.9 MB, once, into `TFMTL_DATA` or the user's cache folder.
        dim: width of every embedding.
        min_count: how often a user, a film or a year must occur to get a row of its own in the tables.
        verbose: whether the download shows its progress; `"auto"`: in a terminal.

    Returns:
        Schema and rows; `user_id` is a feature and a column to group by.

    Raises:
        FileNotFoundError: a folder that does not hold the files.
        ConnectionError: no network, or no answer.
        ValueError: a file without the columns of the data set, or an archive with another digest.

    Example:

    ```python
    split = tfmtl.data.movielens("ml-100k")
    schema = tfmtl.adapt(split.schema, tfmtl.read(split.train, split.schema, batch_size=8192))
    ```
    """
    rows = _rows(folder_of(PUBLISHED, folder, verbose)).sort_by([("timestamp", "ascending"), ("user_id", "ascending")])
    first, second = (round(share * rows.num_rows) for share in (0.8, 0.9))
    schema = _schema(dim, min_count)
    return Split(schema, rows.slice(0, first), rows.slice(first, second - first), rows.slice(second))


def _schema(dim: int, min_count: int) -> Schema:
    def ids(name: str, side: Side, least: int = 1, dtype: Literal["int64", "string"] = "int64") -> Categorical:
        return Categorical(name, vocabulary="adapt", dtype=dtype, min_count=least, dim=dim, side=side)

    features: list[Feature] = [
        ids("user_id", "user", min_count),
        ids("item_id", "item", min_count),
        *(ids(name, "user", dtype="string") for name in ("age_band", "gender", "occupation", "zip_region")),
        ids("release_year", "item", min_count),
        Sequence("genres", (ids("genre", "item", dtype="string"),), length=6, prefix="", side="item"),
    ]
    return Schema(features, [Task("rating", "regression"), Task("liked", label=("rating", ">=", 4))])


def _rows(folder: Path) -> pa.Table:
    """The ratings with what is known of their users and films."""
    whole = folder / "movielens_100k.parquet"
    try:
        rows = _whole(whole) if whole.is_file() else _published(folder)
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(f"{folder} holds no tables of MovieLens 100K: {error}") from error
    band = pc.cast(pc.multiply(pc.divide(rows["age"], 10), 10), pa.string())
    region = pc.utf8_slice_codeunits(rows["zip_code"], 0, 1)
    return rows.append_column("age_band", band).append_column("zip_region", region)


def _whole(file: Path) -> pa.Table:
    """The table that is joined already: genres in one text, the year as a text."""
    table = pa_parquet.read_table(file)
    genres = pc.split_pattern(table["class"], " ")
    rows = table.select([*_RATINGS, *list(_USERS)[1:]]).append_column("genre", genres)
    return rows.append_column("release_year", _year(table["release_year"]))


def _published(folder: Path) -> pa.Table:
    missing = [name for name in ("u.data", "u.item", "u.user") if not (folder / name).is_file()]
    if missing:
        raise missing_files(folder, missing, "MovieLens 100K", PUBLISHED.page)
    films = _read(folder / "u.item", "|", _ITEMS)
    flags = np.stack([films[name].to_numpy() for name in GENRES], axis=1)
    genres = [[name for name, flag in zip(GENRES, row, strict=True) if flag] for row in flags]
    films = (
        films.select(["item_id"])
        .append_column("genre", pa.array(genres, pa.list_(pa.string())))
        .append_column("release_year", _year(films["released"]))
    )
    rows = _read(folder / "u.data", "\t", _RATINGS)
    return joined(joined(rows, _read(folder / "u.user", "|", _USERS), "user_id"), films, "item_id")


def _read(file: Path, delimiter: str, columns: dict[str, pa.DataType]) -> pa.Table:
    """A file without a header; titles are written in Latin-1 and hold quotes."""
    names = pa_csv.ReadOptions(column_names=list(columns), encoding="latin-1")
    return pa_csv.read_csv(
        file,
        names,
        pa_csv.ParseOptions(delimiter=delimiter, quote_char=False),
        pa_csv.ConvertOptions(column_types=columns),
    )


def _year(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """The year at the end of a text such as `01-Jan-1995`; null where there is none."""
    return pc.cast(pc.struct_field(pc.extract_regex(texts, r"(?P<year>\d{4})$"), "year"), pa.int64())

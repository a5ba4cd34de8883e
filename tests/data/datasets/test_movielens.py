"""MovieLens 100K as published, on rows made here in its format."""

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from tfmtl.data import adapt, movielens, read
from tfmtl.data.datasets.movielens import GENRES

FILMS = {
    1: ("Toy Story (1995)", "01-Jan-1995", {"Animation", "Children's"}),
    2: ('"Crème", a film', "", {"unknown"}),
    3: ("Heat (1995)", "15-Dec-1995", {"Film-Noir", "Sci-Fi"}),
}
USERS = {1: (24, "M", "technician", "85711"), 2: (7, "F", "other", "T8H1N")}
RATINGS = [(1 + i % 2, 1 + i % 3, 1 + i % 5, 880_000_000 + 7 * i % 100) for i in range(100)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ml-100k")
    films = [
        "|".join([str(key), title, day, "", "http://us.imdb.com", *(str(int(name in genres)) for name in GENRES)])
        for key, (title, day, genres) in FILMS.items()
    ]
    (path / "u.item").write_text("\n".join(films) + "\n", encoding="latin-1")
    (path / "u.user").write_text("".join(f"{key}|{'|'.join(map(str, of))}\n" for key, of in USERS.items()))
    (path / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in RATINGS))
    return path


@pytest.fixture(scope="module")
def split(folder):
    return movielens(folder, dim=4, min_count=1)


def test_ratings_in_the_order_of_time(split):
    parts = (split.train, split.valid, split.test)
    assert [part.num_rows for part in parts] == [80, 10, 10]
    times = [time for part in parts for time in part["timestamp"].to_pylist()]
    assert times == sorted(row[3] for row in RATINGS)


def test_users_and_films_are_joined(split):
    for row in split.train.to_pylist():
        age, gender, _, code = USERS[row["user_id"]]
        _, day, genres = FILMS[row["item_id"]]
        assert (row["gender"], row["age_band"], row["zip_region"]) == (gender, str(age // 10 * 10), code[0])
        assert set(row["genre"]) == genres and row["release_year"] == (int(day[-4:]) if day else None)


def test_two_tasks_on_one_column(split):
    schema = adapt(split.schema, read(split.train, split.schema, batch_size=80))
    _, y = next(iter(read(split.train, schema, batch_size=80, encode=True)))
    assert (y["liked"].numpy() == (y["rating"].numpy() >= 4)).all() and set(y["rating"].numpy()) == {1, 2, 3, 4, 5}
    known = schema.feature("genres").fields[0].vocabulary
    assert set(known) == {"Animation", "Children's", "Film-Noir", "Sci-Fi", "unknown"}


def test_the_same_as_one_parquet_file(split, tmp_path):
    rows = pa.concat_tables([split.train, split.valid, split.test])
    genres = pa.array([" ".join(genres) for genres in rows["genre"].to_pylist()])
    years = pa.array(["" if year is None else str(year) for year in rows["release_year"].to_pylist()])
    kept = rows.drop_columns(["genre", "release_year", "age_band", "zip_region"])
    pa_parquet.write_table(
        kept.append_column("class", genres).append_column("release_year", years), tmp_path / "movielens_100k.parquet"
    )
    assert movielens(tmp_path).train.select(rows.column_names).to_pylist() == split.train.to_pylist()


def test_a_folder_without_the_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks \['u.data', 'u.item', 'u.user'\].*grouplens.org"):
        movielens(tmp_path)
    for name in ("u.data", "u.item", "u.user"):
        (tmp_path / name).write_text("1,2\n")
    with pytest.raises(ValueError, match="holds no tables of MovieLens 100K"):
        movielens(tmp_path)

"""CSV files as other programs leave them."""

import gzip

import numpy as np
import pytest

from tfmtl.data import CsvFormat, read
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

SCHEMA = Schema(
    [Categorical("city", vocabulary=("Zürich", "Genève")), Numeric("price", transform=None)], [Task("click")]
)
ROWS = [("Zürich", "1.5", "1"), ("Genève", "2.5", "0")]


def text(delimiter=",", header=True, decimal=".", rows=ROWS):
    lines = [("city", "price", "click"), *rows] if header else rows
    return "".join(delimiter.join(line).replace(".", decimal) + "\n" for line in lines)


def check(path, csv=None):
    (x, y), *others = read(path, SCHEMA, batch_size=2, csv=csv, encode=True)
    assert x["city"].numpy().tolist() == [1, 2] and x["price"].numpy().tolist() == [1.5, 2.5] and not others
    assert y["click"].numpy().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("form", "encoding", "written"),
    [
        (CsvFormat(delimiter=";"), "utf-8", {"delimiter": ";"}),
        (CsvFormat(delimiter=";", decimal_point=","), "utf-8", {"delimiter": ";", "decimal": ","}),
        (CsvFormat(encoding="latin-1"), "latin-1", {}),
        (CsvFormat(encoding="utf-16"), "utf-16", {}),
        (CsvFormat(column_names=["city", "price", "click"]), "utf-8", {"header": False}),
        (CsvFormat(quote=None, delimiter="|"), "utf-8", {"delimiter": "|"}),
        (None, "utf-8-sig", {}),
    ],
)
def test_delimiters_encodings_and_headers(tmp_path, form, encoding, written):
    (tmp_path / "rows.csv").write_bytes(text(**written).encode(encoding))
    check(tmp_path / "rows.csv", form)


def test_tabs_go_by_the_suffix(tmp_path):
    (tmp_path / "rows.tsv").write_text(text(delimiter="\t"))
    check(tmp_path / "rows.tsv")
    (tmp_path / "rows.tsv.gz").write_bytes(gzip.compress(text(delimiter="\t").encode()))
    check(tmp_path / "rows.tsv.gz")


def test_what_stands_for_no_value_can_be_said(tmp_path):
    (tmp_path / "rows.csv").write_text(text(rows=[("NA", "-", "1"), ("", "NA", "?")]))
    x, y = next(iter(read(tmp_path / "rows.csv", SCHEMA, batch_size=2, csv=CsvFormat(missing=("-", "?")))))
    assert x["city"].numpy().tolist() == [b"NA", b""]  # Namibia is an id
    assert np.isnan(x["price"]).all() and np.isnan(y["click"][1])


def test_a_file_in_another_encoding_says_what_to_do(tmp_path):
    (tmp_path / "rows.csv").write_bytes(text().encode("latin-1"))
    with pytest.raises(ValueError, match=r"rows.csv: .*UTF8.*encoding='latin-1'"):
        list(read(tmp_path / "rows.csv", SCHEMA, batch_size=2))


def test_rows_are_counted_without_a_header_too(tmp_path):
    names = ("city", "price", "click")
    for header, form in ((True, None), (False, CsvFormat(column_names=names))):
        (tmp_path / "rows.csv").write_text(text(header=header, rows=[*ROWS, ("Zürich", "x", "1")]))
        with pytest.raises(ValueError, match=r"column 'price': row 2: .*'x'"):
            read(tmp_path / "rows.csv", SCHEMA, batch_size=2, csv=form)


def test_a_header_alone_is_refused_at_once(tmp_path):
    (tmp_path / "rows.csv").write_text("city,price,click\n")
    with pytest.raises(ValueError, match=r"no row to read.*rows\.csv"):
        read(tmp_path / "rows.csv", SCHEMA, batch_size=2)


def test_one_file_without_rows_does_no_harm(tmp_path):
    (tmp_path / "a.csv").write_text("city,price,click\n")
    (tmp_path / "b.csv").write_text(text())
    check(tmp_path)


def test_two_columns_of_one_name_are_refused_where_they_are_read(tmp_path):
    (tmp_path / "rows.csv").write_text("city,price,price,click\nZürich,1,2,1\n")
    with pytest.raises(ValueError, match=r"rows.csv: several columns are called \['price'\]"):
        read(tmp_path / "rows.csv", SCHEMA, batch_size=2)
    (tmp_path / "rows.csv").write_text("city,price,note,note,click\nZürich,1.5,,,1\nGenève,2.5,,,0\n")
    check(tmp_path / "rows.csv")


def test_lists_point_to_separators(tmp_path):
    (tmp_path / "rows.csv").write_text("tags,click\na|b,1\n")
    tags = Sequence("tags", [Categorical("tags", vocabulary=("a", "b"))], prefix="", length=2)
    with pytest.raises(ValueError, match=r"no lists, as columns \['tags'\].*`separator`"):
        read(tmp_path / "rows.csv", Schema([tags], [Task("click")]), batch_size=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "||"}, r"one character. Received: delimiter='\|\|'"),
        ({"encoding": "latin-99"}, "encoding='latin-99'"),
        ({"column_names": "city"}, "must be a list"),
    ],
)
def test_other_formats_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CsvFormat(**options)

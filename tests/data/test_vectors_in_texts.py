"""Vectors that a column holds in one text each: read, learned from, encoded, served, and refused where they are none."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from test_reading import write_tfrecord

import tfmtl
from tfmtl.data import CsvFormat, Preprocessor, adapt, infer_schema, read
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

NAN = float("nan")
TASKS = [Task("click", mean=0.5)]
VECTORS = [[0.5, -2.0, 0.25], [NAN, NAN, NAN], [1.0, NAN, 3000.0], [NAN, NAN, NAN], [0.0, 1.5, 2.0]]
WRITTEN = {
    "|": ["0.5|-2|.25", "", "1.|| 3e3 ", "NaN", "0|1.5|2"],
    ",": ["[0.5, -2.0, 0.25]", "[]", " (1,null,3000)", "None", "{0,1.5,2}"],
    " ": ["[ 0.5  -2.    0.25]", "", "[1 nan\n 3e+03]", "null", "0 1.5 2"],
}


def schema_of(separator="|", **options):
    return Schema([Numeric("look", size=3, separator=separator, **{"transform": None, **options})], TASKS)


def rows_of(texts):
    return {"look": texts, "click": [0.0, 1.0, 0.0, 1.0, 0.0]}


@pytest.mark.parametrize("kind", ["dict", "pandas", "request", "parquet", "csv", "records"])
@pytest.mark.parametrize("separator", WRITTEN)
def test_every_form_holds_the_same_vectors(separator, kind, tmp_path):
    schema, rows = schema_of(separator), rows_of(WRITTEN[separator])
    if kind == "request":
        x = Preprocessor(schema.features)({"look": rows["look"]})
    else:
        source = {"dict": rows, "pandas": pd.DataFrame(rows)}.get(kind, tmp_path / f"rows.{kind}")
        if kind in ("parquet", "csv"):
            {"parquet": pq.write_table, "csv": pyarrow.csv.write_csv}[kind](pa.table(rows), source)
        elif kind == "records":
            source = write_tfrecord(pa.table(rows), tmp_path / "rows.tfrecord")
        x = next(iter(read(source, schema, batch_size=5, encode=True)))[0]
    np.testing.assert_array_equal(x["look"], np.float32(VECTORS))
    assert Schema.from_json(schema.to_json()) == schema


def test_statistics_are_those_of_lists():
    texts, lists = (Schema([Numeric("look", size=3, separator=each)], TASKS) for each in ("|", None))
    rows = {"look": [None if np.isnan(v).all() else v for v in VECTORS], "click": [0.0] * 5}
    learned = [
        adapt(texts, read(rows_of(WRITTEN["|"]), texts, batch_size=2)),
        adapt(lists, read(rows, lists, batch_size=5)),
    ]
    assert [s.feature("look").flag_missing for s in learned] == [True, True]
    for name in ("mean", "std"):
        np.testing.assert_allclose(*(getattr(s.feature("look"), name) for s in learned), rtol=1e-6)
    with pytest.raises(ValueError, match=r"\['look'\] must hold texts with '\|' between"):
        adapt(texts, [{"look": [[1.0, 2.0, 3.0]]}])
    with pytest.raises(ValueError, match=r"'look' must hold 3 numbers with '\|' between them. Received: b'1\|2'"):
        adapt(texts, [{"look": ["1|2|3", "1|2"]}])


def test_an_export_takes_texts(tmp_path):
    """`export` compares every signature with the model, `rank` with full rows, and texts that hold no vector too."""
    look = Numeric("look", size=3, separator="|", mean=[0.5] * 3, std=[2.0] * 3, flag_missing="row", side="user", dim=2)
    schema = Schema([look, Categorical("item", num_ids=4, dim=2, side="item")], TASKS)
    model = tfmtl.models.single_task(schema, units=(4,), tower_units=())
    raw = {"look": WRITTEN["|"], "item": [0, 1, 2, 3, 9]}
    version = tfmtl.export(model, tmp_path, schema, examples=raw)
    served = tf.saved_model.load(str(version)).signatures
    rank = served["rank"]
    assert {name: s.shape.as_list() for name, s in rank.structured_input_signature[1].items()} == {
        "item": [None],
        "look": [1],
    }
    encode = Preprocessor(schema.features)
    for text in ("0.5|-2|0.25", "0,5|1|2|3", ""):  # no decimal commas, and more than three numbers: missing
        found = rank(item=tf.constant([1, 3], tf.int64), look=tf.constant([text]))["click"]
        expected = model(encode({"look": [text if text[:2] != "0," else ""] * 2, "item": [1, 3]}))["click"]
        np.testing.assert_allclose(found, expected, atol=1e-6)
    example = tf.train.Example()
    example.features.feature["look"].bytes_list.value.append(b"0.5|-2|0.25")
    example.features.feature["item"].int64_list.value.append(1)
    found = served["examples"](inputs=tf.constant([example.SerializeToString()]))["click"]
    np.testing.assert_allclose(found, model(encode({"look": ["0.5|-2|0.25"], "item": [1]}))["click"], atol=1e-6)


@pytest.mark.parametrize("kind", ["dict", "csv", "records"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5|-2", r"row 3: column '?look'? must hold 3 items.*size.*2"),
        ("0.5|-2|1|2", r"row 3: column '?look'? must hold 3 items.*size.*4"),
        ("0.5|-2|high", r"row 3: column '?look'? must hold numbers with '?\|'? between them.*0.5\|-2\|high"),
        ("inf|-2|1", r"row 3: column '?look'? must hold numbers with '?\|'? between them.*inf\|-2\|1"),
        ("0,5|-2|1", r"row 3: column '?look'? must hold numbers with '?\|'? between them.*0,5\|-2\|1"),
    ],
)
def test_what_is_no_vector_is_named(text, message, kind, tmp_path):
    rows, source = rows_of([*WRITTEN["|"][:3], text, ""]), tmp_path / f"rows.{kind}"
    if kind == "dict":
        source = rows
    elif kind == "csv":
        pyarrow.csv.write_csv(pa.table(rows), source)
        message += r".*CsvFormat\(decimal_point=','\)" if "," in text else ""
    else:
        source = write_tfrecord(pa.table(rows), tmp_path / "rows.tfrecord")
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(read(source, schema_of(), batch_size=5))


@pytest.mark.parametrize(
    ("look", "hint"),
    [
        ([[0.5, 1.0, 2.0]], "lists need no `separator`"),
        ([0.5], "cast them to text"),
    ],
)
def test_other_columns_are_told_apart(look, hint):
    with pytest.raises(ValueError, match=rf"'look' must hold texts of numbers with '\|' between them.*\({hint}\)"):
        read({"look": look, "click": [1]}, schema_of(), batch_size=1)
    with pytest.raises(ValueError, match=r"must hold numbers.*a list of numbers is a `Numeric` of their `size`"):
        read({"look": [[1.0]], "click": [1]}, Schema([Numeric("look")], TASKS), batch_size=1)
    with pytest.raises(ValueError, match=r"must hold lists of numbers.*give the feature its `separator`"):
        read({"look": ["1|2|3"], "click": [1]}, schema_of(None), batch_size=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 1}, "size > 1.*size=1"),
        ({"separator": "."}, "holds nothing that numbers hold"),
        ({"separator": ""}, "one character or more"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        Numeric("look", **{"size": 3, "separator": "|"} | options)


EUROPEAN = "film;scores;tags;look;price;click\nb|c;0,1|0,7;x,1:0,5|y:2;[0,5|-2|,25];1,5;1\nc|b;-|1;y:-3,5e0;NA;-;0\n"
FORM = CsvFormat(delimiter=";", decimal_point=",", missing=("-",))
FILM = Schema(
    [
        Sequence("film", [Categorical("film", vocabulary="adapt")], prefix="", length=2, separator="|", weights="scores"),
        Sequence("t", [Categorical("tags", vocabulary="adapt")], prefix="", length=2, separator="|", weight_separator=":"),
        Numeric("look", size=3, separator="|", transform=None),
        Numeric("price", transform=None),
    ],
    TASKS,
)  # fmt: skip


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_decimal_commas_are_those_of_all_numbers(on_error, tmp_path, recwarn):
    """Whether in a column of numbers, a vector, a weight, or a weight beside its id, which itself may hold a comma."""
    (tmp_path / "rows.csv").write_text(EUROPEAN)
    rows = read(tmp_path / "rows.csv", FILM, batch_size=2, csv=FORM, on_error=on_error)
    schema = adapt(FILM, rows)
    assert schema.feature("t").fields[0].vocabulary == ("y", "x,1")
    x = Preprocessor(schema.features)(next(iter(rows))[0])
    np.testing.assert_array_equal(x["scores"], np.float32([[0.1, 0.7], [1, 1]]))
    np.testing.assert_array_equal(x["t_weights"], [[0.5, 2], [-3.5, 0]])
    np.testing.assert_array_equal(x["look"], [[0.5, -2, 0.25], [NAN] * 3])
    np.testing.assert_array_equal(x["price"], [1.5, NAN])
    assert not [each for each in recwarn if "left out" in str(each.message)]


@pytest.mark.parametrize("column", ["scores", "tags", "look", "price"])
def test_points_are_no_decimal_commas(column, tmp_path):
    """A point there may as well separate thousands."""
    rows = dict(zip(*(line.split(";") for line in EUROPEAN.splitlines()[:2]), strict=True))
    rows[column] = rows[column].replace("0,5", "0.5").replace("1,5", "1.5").replace("0,7", "0.7")
    (tmp_path / "rows.csv").write_text("\n".join([";".join(rows), ";".join(rows.values()), ""]))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=column):
        list(read(tmp_path / "rows.csv", FILM, batch_size=2, csv=FORM))
    with pytest.warns(UserWarning, match=rf"^1 values .*{column}.*Received: '?\S*\d\.\d"):
        list(read(tmp_path / "rows.csv", FILM, batch_size=2, csv=FORM, on_error="skip"))


def test_commas_say_what_to_do(tmp_path):
    (tmp_path / "rows.csv").write_text("look;price;click\n1|2|3;1,5;1\n")
    schema = Schema(FILM.features[2:], TASKS)
    with pytest.raises(ValueError, match=r"column 'price': row 0: .*'1,5'.*CsvFormat\(decimal_point=','\)"):
        read(tmp_path / "rows.csv", schema, batch_size=2, csv=CsvFormat(delimiter=";"))
    (tmp_path / "rows.csv").write_text("look;price;click\n1|2|3;1.000,5;1\n")
    with pytest.raises(ValueError, match=r"'1.000,5'.*\(separators of thousands are not read\)"):
        read(tmp_path / "rows.csv", schema, batch_size=2, csv=FORM)
    with pytest.raises(ValueError, match=r"column 'look' cannot be what separates its numbers.*','"):
        commas = Schema([Numeric("look", size=3, separator=", ", transform=None)], TASKS)
        read(tmp_path / "rows.csv", commas, batch_size=2, csv=FORM)


def test_a_proposal_finds_them(tmp_path):
    table = {
        "tags": ["a|b", "b|c", ""] * 30,
        "scores": ["0.5|1", "", ""] * 30,
        "look": ["0.5|1|2", "", "0.25||1"] * 30,
        "listed": ["[0.5, 1]", "[]", "[.1,2]"] * 30,
        "array": ["[0.5  1. ]", None, "[1. 2.]"] * 30,
        "ids": ["[3, 7]", "[]", "[9]"] * 30,
        "place": ["59.91,10.75", "0.5,1.5", "1.1,2"] * 30,
        "price": ["1.234,50", "2.500,25", "1.000,5"] * 30,
        "closes": ["10.30 11", "9.15 10.45", "01.02 2023"] * 30,
        "amount": ["1,234.5", "2,250.25", "3"] * 30,
        "version": ["1.2.3", "1.3.0", "2.0.1"] * 30,
        "click": [0, 1, 1] * 30,
    }
    with pytest.warns(
        UserWarning, match=r"\['price', 'amount'\] look like numbers in texts.*decimal_point=','"
    ) as warned:
        schema = infer_schema(table, TASKS, dim=4)
    assert len(warned) == 1, [str(each.message) for each in warned]
    tag = Categorical("tags", vocabulary="adapt", dtype="string", dim=4)
    ids = Categorical("ids", vocabulary="adapt", dtype="int64", dim=4)
    assert schema.features[:7] == (
        Sequence("tags", [tag], prefix="", length=2, separator="|", weights="scores"),
        Numeric("look", size=3, separator="|", dim=4),
        Numeric("listed", size=2, separator=",", dim=4),
        Numeric("array", size=2, separator=" ", dim=4),
        Sequence("ids", [ids], prefix="", length=2, separator=","),
        Numeric("place", size=2, separator=",", dim=4),
        Categorical("price", vocabulary="adapt", dtype="string", dim=4),
    )
    assert [type(feature) for feature in schema.features[7:]] == [Categorical] * 3
    adapted = adapt(schema, read(table, schema, batch_size=90))
    assert adapted.feature("ids").fields[0].vocabulary == (3, 7, 9)
    (tmp_path / "rows.csv").write_text(EUROPEAN)
    features = infer_schema(tmp_path / "rows.csv", TASKS, csv=FORM).features
    assert [getattr(feature, "weights", None) or getattr(feature, "size", None) for feature in features][:3:2] == [
        "scores",
        3,
    ]

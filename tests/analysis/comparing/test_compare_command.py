"""`tfmtl compare`: from files to a printed report and a page; and how one file becomes three parts."""

import importlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import tfmtl_cli
from tfmtl.analysis.comparing.run import Run
from tfmtl.analysis.comparing.split_rows import read_table, split_rows
from tfmtl.schema import Categorical, Numeric, Schema, Task

RANDOM = np.random.default_rng(0)
ROWS = pa.table(
    {
        "city": RANDOM.choice(["Oslo", "Rome", "Århus"], 600),
        "age": RANDOM.normal(size=600),
        "click": RANDOM.integers(0, 2, 600),
        "buy": RANDOM.integers(0, 2, 600),
        "user": RANDOM.integers(0, 40, 600),
        "day": RANDOM.integers(1, 11, 600),
        "unread": RANDOM.normal(size=600),
    }
)
SCHEMA = Schema([Categorical("city", vocabulary="adapt", dim=2), Numeric("age")], [Task("click"), Task("buy")])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A schema and rows; runs are made up."""

    def make_up(entry, seed, rate, budget, parts, on_epoch):
        rng = np.random.default_rng([seed, len(entry.label)])
        predictions = {task: rng.random(len(parts["test"])).astype("float32") for task in entry.schema.task_names}
        return Run(seed, rate, 1, 0.5, [], 10, 0.1, 1.0, predictions)

    monkeypatch.setattr(importlib.import_module("tfmtl.analysis.comparing.compare"), "run", make_up)
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    (tmp_path / "schema.json").write_text(SCHEMA.to_json())
    return [str(tmp_path / "schema.json"), str(tmp_path / "rows.parquet")]


def test_from_files_to_a_report(files, tmp_path, capsys):
    command = ["compare", *files, "--model", "shared_bottom", "--model", "mmoe", "--twin", "single_task"]
    command += ["--group", "user", "--time-column", "day", "--seeds", "2", "--folder", str(tmp_path / "runs")]
    assert tfmtl_cli.main([*command, "--out", str(tmp_path / "report.html")]) == 0
    printed = capsys.readouterr().out
    assert "mmoe: " in printed and "single-task twin" in printed and "report.html" in printed
    assert "Does sharing help?" in (tmp_path / "report.html").read_text()
    assert len(list((tmp_path / "runs").glob("*.json"))) == 2 * 4

    assert tfmtl_cli.main([*command, "--out", str(tmp_path / "report.json")]) == 0
    assert capsys.readouterr().out.count("kept from before") == 8
    held = json.loads((tmp_path / "report.json").read_text())
    assert held["contestants"] == ["shared_bottom", "mmoe"] and held["settings"]["drawn"] == "groups of user"
    assert sum(held["settings"]["rows"].values()) == 600


def test_three_files_are_the_parts(files, tmp_path):
    for number, part in enumerate(("train", "valid", "test")):
        pa_csv.write_csv(ROWS.slice(200 * number, 150 + number), tmp_path / f"{part}.csv")
    parts = [str(tmp_path / f"{part}.csv") for part in ("train", "valid", "test")]
    command = [
        "compare",
        files[0],
        *parts,
        "--model",
        "shared_bottom",
        "--seeds",
        "1",
        "--out",
        str(tmp_path / "r.json"),
    ]
    assert tfmtl_cli.main(command) == 0
    held = json.loads((tmp_path / "r.json").read_text())
    assert held["settings"]["rows"] == {"train": 150, "valid": 151, "test": 152}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--model", "plee"], "presets that need no more than a schema. Received: 'plee'; known:"),
        (["--model", "mfh"], "Received: 'mfh'"),
        (["--out", "report.txt"], "--out must end in .html or .json"),
        (["--split", "0.5,0.5"], "--split needs three shares"),
        (["--split", "0.5,0.4,0.4"], "must be positive and add up to 1"),
        (["--time-column", "zip"], "lacks the columns ['zip']"),
        (["--group", "zip"], "lacks the columns ['zip']"),
        (["--seeds", "0"], "`seeds` must be an integer >= 1"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(files, capsys, changed, message):
    assert tfmtl_cli.main(["compare", *files, "--model", "shared_bottom", *changed]) == 1
    told = capsys.readouterr().err
    assert told.startswith("tfmtl compare: ") and message in told and told.count("\n") == 1


def test_files_that_are_none(files, tmp_path, capsys):
    for data in (["none.parquet"], [files[0]], [files[1], files[1]]):
        assert tfmtl_cli.main(["compare", files[0], *data, "--model", "shared_bottom"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert "There is no file none.parquet" in told[0] and "must be a Parquet or CSV file" in told[1]
    assert "one file to split, or three" in told[2]


def test_an_interrupt_says_what_is_kept(files, tmp_path, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("tfmtl.analysis.comparing.compare"), "run", interrupted)
    command = ["compare", *files, "--model", "shared_bottom"]
    assert tfmtl_cli.main([*command, "--folder", str(tmp_path / "runs")]) == 1
    assert "interrupted; finished trainings are in" in capsys.readouterr().err


def test_only_the_columns_that_are_needed_are_read(files):
    assert read_table(files[1], ["city", "day", "city"]).column_names == ["city", "day"]


def test_by_time_the_latest_rows_are_the_last_part():
    parts = split_rows(ROWS, (0.7, 0.2, 0.1), time="day")
    days = [set(part["day"].to_pylist()) for part in parts]
    assert max(days[0]) < min(days[1]) and max(days[1]) < min(days[2])
    assert sum(part.num_rows for part in parts) == 600 and parts[0].num_rows == pytest.approx(420, abs=60)
    texts = ROWS.set_column(5, "day", pa.array([f"2026-11-{day:02}" for day in ROWS["day"].to_pylist()]))
    assert [part.num_rows for part in split_rows(texts, (0.7, 0.2, 0.1), time="day")] == [
        part.num_rows for part in parts
    ]


def test_by_chance_the_order_of_the_file_does_not_matter():
    parts = split_rows(ROWS, (0.8, 0.1, 0.1))
    held = [set(part["age"].to_pylist()) for part in parts]
    assert not held[0] & held[1] and not held[1] & held[2] and not held[0] & held[2]
    assert [len(each) / 600 for each in held] == pytest.approx([0.8, 0.1, 0.1], abs=0.05)
    turned = split_rows(ROWS.take(pa.array(RANDOM.permutation(600))), (0.8, 0.1, 0.1))
    assert [set(part["age"].to_pylist()) for part in turned] == held


def test_by_chance_parts_are_alike_where_most_rows_are_equal():
    """One row makes up two thirds of the data: each part has its share of it."""
    coarse = pa.table({"age": np.where(np.arange(3000) % 3 == 0, np.arange(3000), -1)})
    parts = split_rows(coarse, (0.5, 0.3, 0.2))
    shares = [(part["age"].to_numpy() == -1).mean() for part in parts]
    assert shares == pytest.approx([2 / 3] * 3, abs=0.06)
    turned = split_rows(coarse.take(pa.array(RANDOM.permutation(3000))), (0.5, 0.3, 0.2))
    assert [sorted(part["age"].to_pylist()) for part in turned] == [sorted(part["age"].to_pylist()) for part in parts]


def test_what_cannot_be_split_is_said():
    with pytest.raises(ValueError, match="no row for part 2"):
        split_rows(ROWS.filter(pa.array(ROWS["day"].to_numpy() < 3)), (0.9, 0.05, 0.05), time="day")
    with pytest.raises(ValueError, match=r"Every row needs a time. Received: 600 rows"):
        split_rows(ROWS.set_column(5, "day", pa.nulls(600, pa.int64())), (0.5, 0.5), time="day")

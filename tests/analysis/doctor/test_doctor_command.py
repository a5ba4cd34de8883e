"""`tfmtl doctor`: from files to a printed report, a page, and an exit status."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import tfmtl_cli
from tfmtl.models import mmoe
from tfmtl.schema import Categorical, Schema, Task
from tfmtl.training import objectives


def test_from_files_to_a_report(tmp_path, capsys):
    schema = Schema(
        [Categorical("city", vocabulary=("Oslo", "Rome"), dim=2)], [Task("click", mean=0.5), Task("buy", mean=0.1)]
    )
    random = np.random.default_rng(0)
    rows = {
        "city": random.choice(["Oslo", "Rome", "Lima"], 300),
        "click": random.integers(0, 2, 300),
        "buy": np.zeros(300, int),
    }
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    (tmp_path / "schema.json").write_text(schema.to_json())
    model = mmoe(schema, units=(4,), num_experts=2)
    model.compile("adam", **objectives(schema.tasks))
    model.save(tmp_path / "model.keras")

    files = [str(tmp_path / name) for name in ("model.keras", "schema.json", "rows.parquet")]
    command = ["doctor", *files, "--batch-size", "100", "--train", files[2]]
    assert tfmtl_cli.main([*command, "--out", str(tmp_path / "report.html")]) == 0
    printed = capsys.readouterr().out
    assert "ERROR  single_class: buy" in printed and "WARNING  unknown_ids: city" in printed
    assert "single_class" in (tmp_path / "report.html").read_text()
    assert tfmtl_cli.main([*command, "--fail-on", "error", "--out", str(tmp_path / "report.json")]) == 1
    assert json.loads((tmp_path / "report.json").read_text())["rows"] == 300

    capsys.readouterr()
    assert tfmtl_cli.main([*command, "--out", "report.txt"]) == 1
    assert tfmtl_cli.main(["doctor", files[0], files[1], str(tmp_path / "none.parquet")]) == 1
    told = capsys.readouterr().err
    assert "--out must end in .html or .json. Received: report.txt" in told and "none.parquet" in told

"""The demo itself, shortened: from generated files to a comparison, a diagnosis and answers over gRPC and REST."""

import os
import re

import pytest
from census_rows import write_census
from harness import ROOT, run_file

pytestmark = pytest.mark.keras3


def run(script, *arguments):
    printed = run_file(ROOT / "examples" / script, *arguments, env={"COLUMNS": "160"}, timeout=400)
    for protocol in ("gRPC", "REST"):
        assert f"{protocol}: 256 rows, equal to model.predict" in printed
    return printed


def test_demo_runs_from_rows_to_answers(tmp_path):
    printed = run(
        "video_feed.py", "--users", 250, "--seeds", 1, "--epochs", 1, "--tasks", "click", "like", "--out", tmp_path
    )
    for said in ("rows to train on", "the truth's AUC", "calibration", "The whole report"):
        assert said in printed
    assert "Does sharing help?" in (tmp_path / "report.html").read_text()
    command = re.search(r"^  (\S+) serve (\S+) --name video_feed", printed, re.MULTILINE)
    assert command and os.access(command[1], os.X_OK)  # as it is pasted
    assert (tmp_path / "export" / "video_feed" / "1" / "saved_model.pb").exists()


@pytest.mark.slow
def test_the_example_of_census_income(tmp_path):
    folder = write_census(tmp_path / "census")
    printed = run("census_income.py", "--data", folder, "--epochs", 1, "--out", tmp_path / "out")
    assert "MTL gain" in printed and (tmp_path / "out" / "census_income.keras").exists()

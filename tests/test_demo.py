"""The demo itself, shortened: from the bundled rows to answers over gRPC and REST."""

import os
import subprocess
import sys

import pytest
from harness import ROOT

from tfmtl import Schema
from tfmtl.keras_host import keras

pytestmark = pytest.mark.keras3


def test_demo_runs_from_rows_to_answers(tmp_path):
    command = [
        sys.executable,
        ROOT / "examples" / "census_income.py",
        "--rows",
        "4000",
        "--epochs",
        "1",
        "--out",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env={**os.environ, "COLUMNS": "160"})
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "MTL gain" in done.stdout
    for protocol in ("gRPC", "REST"):
        assert f"{protocol}: 256 rows, equal to model.predict" in done.stdout
    assert "tfmtl serve" in done.stdout
    schema = Schema.from_json((tmp_path / "schema.json").read_text())
    assert schema.is_adapted and schema.task_names == ("income", "never_married")
    assert set(keras.models.load_model(tmp_path / "census_income.keras").output) == set(schema.task_names)
    assert (tmp_path / "export" / "census_income" / "1" / "saved_model.pb").exists()

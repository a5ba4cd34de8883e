"""The example of the video feed, shortened: from generated files to a comparison, a diagnosis and answers of a server."""

import os
import subprocess
import sys

import pytest
from harness import ROOT

pytestmark = [pytest.mark.keras3, pytest.mark.slow]


def test_the_example_runs_from_files_to_answers(tmp_path):
    script = ROOT / "examples" / "video_feed.py"
    command = [sys.executable, script, "--users", "300", "--seeds", "1", "--epochs", "1", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "COLUMNS": "160"})
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    for task in ("click", "long_view", "like", "forward"):
        assert task in done.stdout
    for protocol in ("gRPC", "REST"):
        assert f"{protocol}: 256 rows, equal to model.predict" in done.stdout
    assert "serve" in done.stdout and (tmp_path / "report.html").exists()
    assert (tmp_path / "export" / "video_feed" / "1" / "saved_model.pb").exists()

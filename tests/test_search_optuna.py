"""The search with Optuna, shortened: it prunes, finds settings, and ends with a front."""

import os
import re
import subprocess
import sys

import pytest
from harness import ROOT

pytestmark = pytest.mark.keras3


def test_the_search_runs():
    pytest.importorskip("optuna")
    command = [
        sys.executable,
        ROOT / "examples" / "search_optuna.py",
        "--rows",
        "600",
        "--trials",
        "3",
        "--epochs",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert re.search(r"best mean AUC 0\.\d{4} with \{'units'", done.stdout)
    assert "of 2 trials were given up early" in done.stdout
    front = [tuple(map(float, pair)) for pair in re.findall(r"trial \d: click ([\d.]+), buy ([\d.]+)", done.stdout)]
    assert front and all(not (a[0] > b[0] and a[1] > b[1]) for a in front for b in front)

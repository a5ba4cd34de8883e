"""What is released: a small wheel that runs the README's quick start in an empty environment, from another folder."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from harness import ROOT

pytestmark = [pytest.mark.keras3, pytest.mark.slow]

NO_EXTRAS = """
import importlib
import numpy as np
import tfmtl, tfmtl.data, tfmtl.training, tfmtl.analysis, tfmtl.exporting, tfmtl.optimizers

assert "site-packages" in tfmtl.__file__, tfmtl.__file__
for module, extra in (("tfmtl.serving.client", "serving"), ("tfmtl.serving.server", "serving")):
    try:
        importlib.import_module(module)
    except ImportError as error:
        assert f"tfmtl[{extra}]" in str(error), error
    else:
        raise SystemExit(f"{module} was imported without its extra")
for call, extra in (
    (lambda: tfmtl.exporting.export_onnx("nothing", "nothing.onnx"), "onnx"),
    (lambda: tfmtl.analysis.plots.plot_conflicts(np.eye(2), ["click", "buy"]), "plots"),
):
    importlib.import_module("tfmtl.analysis.plots")
    try:
        call()
    except ImportError as error:
        assert f"tfmtl[{extra}]" in str(error), error
print("no extras, and each one missing is named")
"""


def run(*command: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env={**kept, **env}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The wheel, built from the sdist as an index would get it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


def test_the_wheel_is_small_and_holds_the_package_alone(dist):
    (wheel,) = dist.glob("*.whl")
    assert wheel.stat().st_size < 1_000_000
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"tfmtl", "tfmtl_cli.py"}
    assert all(name.endswith((".py", "py.typed")) for name in names if ".dist-info/" not in name)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_an_index_would_take_both(dist):
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(dist.iterdir()), cwd=dist)


def test_the_quick_start_runs_from_the_wheel_elsewhere(dist, tmp_path):
    """No warning and no line of a log is ours; Keras 3.15 has one for every `fit` of a dataset."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python, (wheel,) = tmp_path / "venv" / "bin" / "python", dist.glob("*.whl")
    run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--constraint",
        ROOT / "constraints.txt",
        wheel,
        cwd=tmp_path,
    )
    assert "each one missing is named" in run(python, "-c", NO_EXTRAS, cwd=tmp_path).stdout

    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[:2]  # the quick start and the twins
    script = "\n".join(blocks).replace('short_video("feed")', 'short_video("feed", users=300, videos=100)')
    (tmp_path / "quick_start.py").write_text(script.replace("seeds=3", "seeds=1"))
    done = run(python, "quick_start.py", cwd=tmp_path, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    assert (tmp_path / "models" / "feed" / "1" / "saved_model.pb").is_file() and (tmp_path / "report.html").is_file()
    ours = [line for line in done.stderr.splitlines() if "tfmtl" in line]
    assert all("tfmtl[serving]" in line for line in ours), ours  # the extra that writes warm-up requests
    run(tmp_path / "venv" / "bin" / "tfmtl", "--help", cwd=tmp_path)

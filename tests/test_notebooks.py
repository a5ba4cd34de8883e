"""Every notebook is stored with what it printed and drew, and runs top to bottom in a process of its own, on fewer rows."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from fresh import importer
from harness import ROOT
from nbclient import NotebookClient

SHORT = {"ROWS": "3000", "USERS": "250", "SEEDS": "1", "EPOCHS": "1", "TASKS": "TASKS[:2]"}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

pytestmark = pytest.mark.keras3


def shortened(path: Path) -> nbformat.NotebookNode:
    """The notebook without its install cell, and with smaller numbers where it sets them."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "install" not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            names = [line.split("=")[0].strip() for line in cell.source.splitlines() if "=" in line and line[0] != "#"]
            cell.source += "".join(f"\n{name} = {SHORT[name]}" for name in names if name in SHORT)
    return notebook


@pytest.fixture
def forked(tmp_path, monkeypatch):
    """The name of a kernel that does not take seconds to import TensorFlow."""
    spec = tmp_path / "jupyter" / "kernels" / "forked" / "kernel.json"
    spec.parent.mkdir(parents=True)
    command = [sys.executable, str(ROOT / "tests" / "forked_kernel.py"), importer(), "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "forked", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    return "forked"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path, forked):
    # The kernel imports tfmtl as any user's does: from the environment, not from the notebook's folder.
    notebook, folder = shortened(path), tmp_path / "empty"
    folder.mkdir()
    sets_the_host = any(
        "TF_USE_LEGACY_KERAS" in cell.source for cell in notebook.cells
    )  # before TensorFlow is imported
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3" if sets_the_host else forked,
        resources={"metadata": {"path": folder}},
    )
    done = client.execute()
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_opens_in_colab(path):
    """It installs what it needs, knows no path of this machine and defines no layer."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any("install" in cell.metadata.get("tags", []) and "pip install" in cell.source for cell in code)
    assert any("parameters" in cell.metadata.get("tags", []) for cell in code)
    for cell in code:
        assert not re.search(r"['\"]/\w", cell.source), "an absolute path"
        assert "keras.layers.Layer)" not in cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_can_be_read_where_it_lies(path):
    """`notebooks/execute.py` has run all of it, in order; pictures are small, and no bar, warning or path of a machine is left."""
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    ran = [cell for cell in code if "install" not in cell.metadata.get("tags", [])]
    assert [cell.execution_count for cell in ran] == list(range(1, len(ran) + 1))
    outputs = [output for cell in ran for output in cell.outputs]
    assert len(outputs) >= 3 and path.stat().st_size < 400_000
    for output in outputs:
        assert output.output_type != "error" and output.get("name") != "stderr"
        said = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not re.search(r"\x1b|\r|\x08|/home/|/root/|/tmp/|Warning", said), said
        assert len(output.get("data", {}).get("image/png", "")) < 100_000

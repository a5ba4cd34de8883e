"""Runs notebooks from top to bottom and stores what they print and draw, so that they can be read where they lie.

    .venv/bin/python notebooks/execute.py                      # all
    .venv/bin/python notebooks/execute.py 01_quickstart 02_ple

Cells that install are left alone. Progress bars, colours, TensorFlow's log and what goes to stderr are not stored.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
START = "import matplotlib; matplotlib.rcParams['figure.dpi'] = 72; matplotlib.rcParams['savefig.dpi'] = 72"
LOGGED = re.compile(r"^INFO:tensorflow:.*\n+", re.MULTILINE)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def execute(notebook: nbformat.NotebookNode) -> None:
    """Runs the cells in a folder of their own and keeps their outputs, tidied."""
    installs = [cell for cell in notebook.cells if "install" in cell.metadata.get("tags", [])]
    whole = notebook.cells
    start = nbformat.v4.new_code_cell(START)
    notebook.cells = [start, *(cell for cell in whole if cell not in installs)]
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=3600, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    notebook.cells = whole
    count = 0
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code" and cell not in installs:
            count += 1
            cell.execution_count = count
            kept = joined([tidy(output, count) for output in cell.outputs if output.get("name") != "stderr"])
            cell.outputs = [output for output in kept if output.get("text", "-").strip()]


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What was printed in several goes as one output."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def tidy(output: nbformat.NotebookNode, count: int) -> nbformat.NotebookNode:
    """What a reader would see at the end: bars are overwritten, colours are not shown."""
    if output.output_type == "execute_result":
        output.execution_count = count
    if "text/plain" in output.get("data", {}):
        output.data["text/plain"] = ESCAPES.sub("", output.data["text/plain"])
    if "text" in output:
        lines = [
            line.rsplit("\r", 1)[-1]
            for line in LOGGED.sub("", ESCAPES.sub("", output.text)).replace("\x08", "").split("\n")
        ]
        output.text = "\n".join(line.rstrip() for line in lines)
    return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="without their ending; none is all")
    names = parser.parse_args().names
    for path in sorted(HERE.glob("*.ipynb")):
        if not names or path.stem in names:
            notebook = nbformat.read(path, as_version=4)
            execute(notebook)
            nbformat.write(notebook, path)
            sys.stdout.write(f"{path.name}: {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()

"""The examples of the docstrings run as a reader would paste them: with the names that they import, and no others."""

import ast
import doctest
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ROOT

PACKAGE = ROOT / "tfmtl"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

pytestmark = pytest.mark.keras3


def files() -> list[Path]:
    """Those of the package that show an example."""
    return sorted(file for file in PACKAGE.rglob("*.py") if ">>>" in file.read_text())


def examples(path: Path) -> Iterator[doctest.DocTest]:
    """One a docstring: its lines share their names, and each docstring begins with none."""
    parser = doctest.DocTestParser()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            text, line = ast.get_docstring(node, clean=False), node.body[0].lineno - 1
            yield parser.get_doctest(text, {"__name__": "__main__"}, getattr(node, "name", path.stem), str(path), line)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_examples_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
    for example in examples(path):
        runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)
    assert runner.tries == path.read_text().count(">>> "), f"{path}: examples outside of a docstring do not run"

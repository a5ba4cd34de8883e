"""The code in the documents runs, one block after the other, in one namespace, as a reader would paste it."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from harness import ROOT

from tfmtl.data import census_income
from tfmtl.keras_host import keras

pytestmark = pytest.mark.keras3


def run(path: Path, names: dict[str, object], sections: str = ".*") -> dict[str, object]:
    """Runs the Python of those sections of a document whose titles match; a traceback names its lines."""
    text = path.read_text()
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        before = text[: block.start()]
        title = re.findall(r"^#+ (.*)", before, re.MULTILINE)[-1]
        if re.fullmatch(sections, title):
            exec(compile("\n" * (before.count("\n") + 1) + block[1], str(path), "exec"), names)
    return names


def test_recipes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / "recipes.md", {})
    assert (tmp_path / "models" / "corrected" / "1" / "saved_model.pb").exists()


def test_losses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / "losses.md", {})


@pytest.mark.parametrize("page", ["diagnose.md", "checkpoints.md"])
def test_what_is_wrong_and_which_epoch(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / page, {})


def test_compare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / "compare.md", {})
    assert "Does sharing help?" in (tmp_path / "report.html").read_text()


def test_balancing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    run(ROOT / "docs" / "balancing.md", names)
    assert type(keras.models.load_model(tmp_path / "balanced.keras")) is type(names["model"].plain())


def test_readme(tmp_path, monkeypatch):
    """But for serving, whose clients need features of their own; on fewer rows."""
    monkeypatch.chdir(tmp_path)
    for part in ("train_path", "test_path"):
        few = pq.read_table(getattr(census_income, part)()).slice(0, 2000)
        pq.write_table(few, tmp_path / f"{part}.parquet")
        monkeypatch.setattr(census_income, part, lambda file=tmp_path / f"{part}.parquet": file)
    names = {"keras": keras, "x": keras.Input((8,))}
    run(ROOT / "README.md", names)
    assert set(names["outputs"]) == {"click", "buy"}
    assert (tmp_path / "models" / "census" / "1" / "saved_model.pb").exists()
    assert "never_married" in (tmp_path / "report.html").read_text()
    run(ROOT / "docs" / "concepts.md", names)
    assert set(names["model"].output) == {"click", "cart", "buy"}

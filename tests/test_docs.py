"""The code in the documents runs, one block after the other, in one namespace, as a reader would paste it."""

import re
from pathlib import Path

import pytest
from harness import ROOT

import tfmtl
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


@pytest.mark.filterwarnings("ignore:5 of 30 ids")  # of the page on inputs, which says so
@pytest.mark.parametrize("page", ["losses.md", "inputs.md"])
def test_losses_and_inputs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / page, {})


@pytest.mark.parametrize("page", ["diagnose.md", "checkpoints.md"])
def test_what_is_wrong_and_which_epoch(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / page, {})


def test_papers_and_data_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for page in [*sorted((ROOT / "docs" / "papers").glob("*.md")), ROOT / "docs" / "datasets.md"]:
        run(page, {})


def test_every_page_with_code_is_run():
    """By one of the tests here, which name their pages."""
    code = [page for page in (ROOT / "docs").rglob("*.md") if "```python" in page.read_text()]
    told = Path(__file__).read_text()
    assert all(page.name in told or page.parent.name == "papers" for page in code), code


def test_serving(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / "serving.md", {})
    assert len(list((tmp_path / "models" / "ranker").glob("[0-9]*"))) == 1


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
    """On a smaller feed and with fewer seeds; the last block wants an `x` of the reader's own."""
    monkeypatch.chdir(tmp_path)
    for module, name, smaller in (
        (tfmtl.data, "short_video", {"users": 200, "videos": 100}),
        (tfmtl, "compare", {"seeds": 1, "epochs": 1}),
    ):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, f=function, s=smaller, **named: f(*args, **{**named, **s}))
    names = {"keras": keras, "x": keras.Input((8,))}
    run(ROOT / "README.md", names)
    assert set(names["outputs"]) == {"click", "buy"}
    assert (tmp_path / "models" / "feed" / "1" / "saved_model.pb").exists()
    assert "like" in (tmp_path / "report.html").read_text()
    run(ROOT / "docs" / "concepts.md", names)
    assert set(names["model"].output) == {"click", "cart", "buy"}

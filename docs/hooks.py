"""The site's own steps: pages of what lies outside of docs/, and an API reference that leaves nothing out.

README, CHANGELOG, CONTRIBUTING, export/README and the notebooks stay where a reader of the repository looks for them, and are pages of the
site too, with their links mended. A public name that no page of the reference groups stands at the end of its page. The build stops where one has no docstring.
"""

import base64
import functools
import json
import re
from pathlib import Path, PurePosixPath
from posixpath import join, normpath, relpath
from typing import Any

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "export/README.md": "production.md",
    "benchmarks/README.md": "benchmarks/index.md",
    "benchmarks/serving.md": "benchmarks/serving.md",
    "benchmarks/serving_tasks.md": "benchmarks/serving_tasks.md",
}
"""Pages of the site that lie elsewhere in the repository."""

REFERENCE = {
    "data": ("tfmtl.schema", "tfmtl.data"),
    "models": ("tfmtl.models",),
    "stages": ("tfmtl.stages",),
    "layers": ("tfmtl.layers",),
    "training": ("tfmtl.training", "tfmtl.losses", "tfmtl.metrics", "tfmtl.optimizers"),
    "balancing": ("tfmtl.training.balancing",),
    "analysis": ("tfmtl.analysis", "tfmtl.analysis.plots"),
    "serving": ("tfmtl.exporting", "tfmtl.serving.client", "tfmtl.serving.server"),
}
"""By page of the reference: what its names are imported from."""

SESSION = re.compile(r"^(>>> .*\n(?:[^\n]+\n)*)", re.MULTILINE)
TITLE = re.compile(r"^(Examples?):\n(?=\n)", re.MULTILINE)
ENTRY = re.compile(r"^::: (\S+)$", re.MULTILINE)
LINK = re.compile(r"(?<!`)\[([^]]*)]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


class Fenced(griffe.Extension):
    """Shows the examples of docstrings as code: they stand there as a Python session, without a fence."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = SESSION.sub(r"```pycon\n\1```\n", TITLE.sub(r"**\1:**\n", obj.docstring.value + "\n"))


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that lie elsewhere."""
    for source, place in ELSEWHERE.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text()))
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in notebooks:
        text, pictures = notebook_page(json.loads(path.read_text()), path.stem)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Points links to where things lie on the site; what is not on it becomes plain text."""
    place = page.file.src_uri
    source = next((name for name, target in ELSEWHERE.items() if target == place), f"docs/{place}")
    if place.startswith("notebooks/"):
        source = place

    def mended(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        target = normpath(join(str(PurePosixPath(source).parent), target))
        if target.endswith(".ipynb"):
            target = f"docs/{target[:-6]}.md"
        elif target == "notebooks":
            target = "docs/notebooks/01_quickstart.md"
        elif target in ELSEWHERE:
            target = f"docs/{ELSEWHERE[target]}"
        if not target.startswith("docs/"):
            return text if (ROOT / target).exists() else match[0]
        return f"[{text}]({relpath(target, str(PurePosixPath('docs', place).parent))}{anchor})"

    more = ungrouped(PurePosixPath(place).stem) if place.startswith("reference/") else []
    if more:
        markdown += "\n## More\n\n" + "\n".join(f"::: {name}\n" for name in more)
    return ENTRY.sub(entry, LINK.sub(mended, markdown))


def entry(match: re.Match[str]) -> str:
    """Shows a name under the path that one imports it by, wherever it is defined."""
    name = match[1]
    options = f"{{heading_level: 3, heading: {name}, toc_label: {name.rpartition('.')[2]}}}"
    return f'<a id="{name}"></a>\n\n::: {resolved(loaded(), name).path}\n    options: {options}\n'


def ungrouped(page: str) -> list[str]:
    """What the modules of a page hand on and no page of the reference shows."""
    package = loaded()
    texts = [path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")]
    told = {resolved(package, name).path for text in texts for name in ENTRY.findall(text)}
    names = [f"{module}.{name}" for module in REFERENCE.get(page, ()) for name in public(package, module)]
    return [name for name in names if resolved(package, name).path not in told]


@functools.cache
def loaded() -> griffe.Object:
    """The package as it is written; nothing of it is imported."""
    return griffe.load("tfmtl", search_paths=[str(ROOT)], resolve_aliases=True)


def on_config(config: Any) -> Any:
    """Stops where a public name says nothing of itself."""
    package = loaded()
    names = [f"{module}.{name}" for of in REFERENCE.values() for module in of for name in public(package, module)]
    silent = [name for name in names if not resolved(package, name).has_docstring]
    if silent:
        raise PluginError(f"These names have no docstring: {silent}")
    return config


def resolved(package: griffe.Object, name: str) -> griffe.Object:
    """What an import of a name gives, wherever it is defined: the function, not the file of the same name."""
    found = package[name.removeprefix("tfmtl.")]
    found = found.final_target if found.is_alias else found
    same = found.path.rpartition(".")[2]
    if found.is_module and same in found.members and not found.is_init_module:
        return resolved(package, f"{found.path}.{same}")
    return found


def public(package: griffe.Object, module: str) -> list[str]:
    """The classes and functions that a module hands on."""
    exports = [str(getattr(name, "name", name)) for name in resolved(package, module).exports or []]
    return [name for name in exports if resolved(package, f"{module}.{name}").kind.value in ("class", "function")]


def notebook_page(notebook: dict[str, Any], stem: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, with what its cells printed and drew."""
    parts, pictures = [], {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{stem}_{len(pictures)}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![what the cell drew]({name})")
            else:
                text = "".join(output.get("text", data.get("text/plain", "")))
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts), pictures

"""One self-contained page of HTML."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from tfmtl.atomic_file import replacing

STYLE = """
:root { --ink: #1c2430; --soft: #5d6878; --line: #dde2e9; --paper: #ffffff; --band: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #9aa5b4; --line: #343c48; --paper: #14181e; --band: #1c222b; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
p, ul { margin: .6rem 0; max-width: 46rem; }
ul { padding-left: 1.2rem; }
li { margin: .25rem 0; }
.subtitle, figcaption, caption { color: var(--soft); }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; caption-side: bottom; padding: .4rem .1rem; font-size: .88rem; }
th, td { padding: .35rem .75rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
th.text, td.text { text-align: left; }
tbody tr:nth-child(even) { background: var(--band); }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
figcaption { font-size: .88rem; max-width: 46rem; }
@media print {
  body { max-width: none; padding: 0; font-size: 11pt; color: #000000; background: #ffffff; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
}
"""


class Page:
    """A page of titles, text, tables and figures, in one file that needs no other: it can be mailed, and is read on a phone.

    Whatever it is given is shown as text: names of tasks and models cannot become markup.

    Args:
        title: of the page.
        subtitle: a line below it, such as the data and the day.

    Example:

    >>> from tfmtl.analysis.page import Page
    >>> page = Page("Does sharing help?")
    >>> page.section("Gains")
    >>> page.table(["task", "gain"], [["click", "+0.004"]])
    >>> "<td>+0.004</td>" in page.to_html()
    True
    """

    def __init__(self, title: str, subtitle: str = ""):
        self.title = title
        self._parts = [f"<h1>{_text(title)}</h1>"]
        if subtitle:
            self._parts.append(f'<p class="subtitle">{_text(subtitle)}</p>')

    def section(self, title: str) -> None:
        """Begins a section."""
        self._parts.append(f"<h2>{_text(title)}</h2>")

    def text(self, paragraph: str) -> None:
        """Adds a paragraph."""
        self._parts.append(f"<p>{_text(paragraph)}</p>")

    def points(self, points: Iterable[str]) -> None:
        """Adds a list of points; nothing where there are none."""
        items = "".join(f"<li>{_text(point)}</li>\n" for point in points)
        if items:
            self._parts.append(f"<ul>\n{items}</ul>")

    def table(
        self, header: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = "", text_columns: int = 1
    ) -> None:
        """Adds a table.

        Args:
            header: the names of its columns.
            rows: each as long as `header`; cells are shown as `str` shows them.
            caption: a line below it.
            text_columns: how many columns, from the left, hold text; the others hold numbers and are set to the right.

        Raises:
            ValueError: a row that is not as long as the header.
        """
        lines = ["<thead>", _row("th", header, text_columns), "</thead>", "<tbody>"]
        for row in rows:
            if len(row) != len(header):
                raise ValueError(f"A row must have {len(header)} cells, as `header` has. Received: row={list(row)}")
            lines.append(_row("td", row, text_columns))
        below = f"<caption>{_text(caption)}</caption>\n" if caption else ""
        self._parts.append(f'<div class="scroll"><table>\n{below}' + "\n".join([*lines, "</tbody></table></div>"]))

    def figure(self, figure: Any, caption: str = "") -> None:
        """Adds a figure of matplotlib, drawn in vectors; `caption` is also what a screen reader says."""
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", bbox_inches="tight", metadata={"Date": None})
        source = base64.b64encode(drawn.getvalue()).decode("ascii")
        below = f"<figcaption>{_text(caption)}</figcaption>" if caption else ""
        image = f'<img src="data:image/svg+xml;base64,{source}" alt="{_text(caption)}">'
        self._parts.append(f"<figure>{image}{below}</figure>")

    def to_html(self) -> str:
        """The whole page."""
        head = (
            '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_text(self.title)}</title>\n<style>{STYLE}</style>"
        )
        body = "\n".join(self._parts)
        return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'

    def write(self, path: str | PathLike[str]) -> Path:
        """Writes the page, whole or not at all, and returns where it lies."""
        with replacing(path) as partial:
            partial.write_text(self.to_html(), encoding="utf-8")
        return Path(path)


def _row(cell: str, values: Sequence[Any], text_columns: int) -> str:
    opened = [f'<{cell} class="text">' if place < text_columns else f"<{cell}>" for place in range(len(values))]
    return (
        "<tr>" + "".join(f"{tag}{_text(value)}</{cell}>" for tag, value in zip(opened, values, strict=True)) + "</tr>"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))

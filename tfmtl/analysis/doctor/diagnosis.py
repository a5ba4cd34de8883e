"""What the doctor found."""

import html
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfmtl.analysis.doctor.finding import FAULTS, SEVERITIES, Finding, Severity
from tfmtl.analysis.page import Page
from tfmtl.atomic_file import replacing
from tfmtl.checks import check_option

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Diagnosis(Sequence[Finding]):
    """The findings about a model, the gravest first; `print` shows them, and a notebook does.

    Attributes:
        findings: what is wrong.
        measurements: what was measured, by name, whether it is wrong or not: `cosine/{a}/{b}`, `gradient/{task}`,
            `gate_entropy/{level}/{stream}` ...
        remarks: what could not be looked at, and why.
        rows: of the dataset.
        model: the model's name.
        tasks: of the schema.
        cosines: `(K, K)`, mean cosine of the gradients of two tasks, NaN where they never met; None where they were not measured.
    """

    findings: tuple[Finding, ...]
    measurements: dict[str, float]
    remarks: tuple[str, ...]
    rows: int
    model: str
    tasks: tuple[str, ...]
    cosines: np.ndarray | None = None

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, place: Any) -> Any:
        return self.findings[place]

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of this severity, and graver ones."""
        check_option("severity", severity, Severity)
        return tuple(each for each in self if SEVERITIES.index(each.severity) <= SEVERITIES.index(severity))

    @property
    def summary(self) -> str:
        """One line: how many findings of each severity."""
        counts = {severity: sum(each.severity == severity for each in self) for severity in SEVERITIES}
        told = ", ".join(f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count)
        return f"{self.model!r} on {self.rows:,} rows: {told or 'nothing found'}"

    def __str__(self) -> str:
        return "\n\n".join([self.summary, *map(str, self.findings), *(f"({remark})" for remark in self.remarks)])

    def _repr_html_(self) -> str:
        """A table for a notebook, without the page around it."""
        cells = [(each.severity, each.name, each.where, each.message, each.advice) for each in self]
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
        remarks = "".join(f"<p>({html.escape(remark)})</p>" for remark in self.remarks)
        return f"<div><p>{html.escape(self.summary)}</p><table><tbody>{rows}</tbody></table>{remarks}</div>"

    def to_dataframe(self) -> "pd.DataFrame":
        """One row a finding, in pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("`to_dataframe` needs pandas: pip install pandas.") from error
        columns = ["severity", "name", "where", "tasks", "message", "advice", "evidence"]
        return pandas.DataFrame([[getattr(each, column) for column in columns] for each in self], columns=columns)

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """All of it as JSON text, which is also written to `path` where one is given; what is not finite is null."""
        held = {
            "model": self.model,
            "rows": self.rows,
            "findings": [asdict(each) for each in self],
            "measurements": self.measurements,
            "remarks": self.remarks,
        }
        text = json.dumps(_finite(held), indent=1, ensure_ascii=False, allow_nan=False)
        if path is not None:
            with replacing(path) as partial:
                partial.write_text(text + "\n", encoding="utf-8")
        return text

    def to_html(self, path: str | PathLike[str]) -> Path:
        """Writes one self-contained page, whole or not at all, and returns where it lies."""
        return self._page().write(path)

    def _page(self) -> Page:
        page = Page(f"Diagnosis of {self.model}", self.summary)
        rows = [[each.severity, each.name, each.where, FAULTS[each.name]] for each in self]
        if rows:
            page.table(["severity", "finding", "where", "what it is"], rows, text_columns=4)
        for each in self:
            page.section(f"{each.name}: {each.where}")
            page.text(each.message)
            page.text(f"What to do: {each.advice}")
            page.table(["evidence", "value"], [[name, f"{value:.5g}"] for name, value in each.evidence.items()])
        if self.measurements:
            page.section("Measured")
            self._draw(page)
            page.table(["what", "value"], [[name, f"{value:.5g}"] for name, value in self.measurements.items()])
        if self.remarks:
            page.section("Not looked at")
            page.points(self.remarks)
        return page

    def _draw(self, page: Page) -> None:
        """Adds what can be seen better than read, where matplotlib is installed."""
        if self.cosines is None or len(self.tasks) < 2:
            return
        try:
            from tfmtl.analysis.plots import plot_conflicts

            figure = plot_conflicts(self.cosines, self.tasks)
        except ImportError:
            page.text('A picture of the gradients needs matplotlib: pip install "tfmtl[plots]".')
        else:
            page.figure(figure, "Mean cosine of the tasks' gradients by the dense weights that they share.")


def _finite(value: Any) -> Any:
    """`value` as JSON types; None for numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: _finite(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(held) for held in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""What a comparison found."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfmtl.analysis.comparing import verdicts
from tfmtl.analysis.comparing.entry import TWINS
from tfmtl.analysis.comparing.gain import Gain
from tfmtl.atomic_file import replacing

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cost:
    """What a contestant takes; of the twins, all of them together.

    Args:
        parameters: numbers in its weights.
        step_seconds: the median of its training steps, over all of its runs.
        epochs: the epoch that was best on the validation rows, mean over its runs; of the twins by task.
        learning_rates: the one that was best on the validation rows; of the twins by task.
    """

    parameters: int
    step_seconds: float
    epochs: dict[str, float]
    learning_rates: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """A run that ended early.

    Args:
        run: whose.
        seed: of the run.
        learning_rate: of the run.
        reason: what went wrong.
    """

    run: str
    seed: int
    learning_rate: float
    reason: str

    def __str__(self) -> str:
        return f"{self.run}, seed {self.seed}, learning rate {self.learning_rate:g}: {self.reason}"


@dataclass(frozen=True)
class Comparison:
    """The gains of every contestant over single-task twins, and all that they were computed from.

    It shows itself as a table and a verdict in words, in notebooks as a table.

    Args:
        tasks: the kind of each task by name.
        contestants: their names, without the twins.
        figures: `[contestant or twins][task][figure][seed]` over the test rows.
        gains: `[contestant][task]`.
        costs: of every contestant, and of the twins.
        curves: `[contestant or twins][task]`, one list of figures by epoch for each seed.
        calibration: `[contestant or twins][task]`, equal-mass bins: `(mean prediction, mean label, rows)`.
        failures: runs that ended early.
        settings: seeds, epochs, rows and the rest that the runs had in common.

    Example:

    ```python
    report = compare(schema, {"PLE": ple, "STEM-Net": stem_net}, train, valid, test)
    print(report)
    report.gains["PLE"]["like"].interval
    report.to_html("report.html")
    ```
    """

    tasks: dict[str, str]
    contestants: tuple[str, ...]
    figures: dict[str, dict[str, dict[str, dict[int, float]]]]
    gains: dict[str, dict[str, Gain]]
    costs: dict[str, Cost]
    curves: dict[str, dict[str, list[list[dict[str, float]]]]]
    calibration: dict[str, dict[str, list[tuple[float, float, int]]]]
    failures: tuple[Failure, ...]
    settings: dict[str, Any]

    def gain(self, contestant: str, task: str) -> Gain:
        """The gain of one task; ValueError with the known names for others."""
        if contestant not in self.gains:
            raise ValueError(f"No such contestant. Received: {contestant!r}; known: {list(self.contestants)}")
        if task not in self.tasks:
            raise ValueError(f"No such task. Received: {task!r}; known: {list(self.tasks)}")
        return self.gains[contestant][task]

    def mean(self, contestant: str, task: str, figure: str) -> float:
        """The mean of a figure over the seeds; NaN where no run has it."""
        found = list(self.figures.get(contestant, {}).get(task, {}).get(figure, {}).values())
        return float(np.mean(found)) if found else float("nan")

    @property
    def verdicts(self) -> list[str]:
        """One sentence for each contestant: which tasks win, which pay, which are level."""
        return [verdicts.of_contestant(name, self.gains[name]) for name in self.contestants]

    @property
    def notes(self) -> list[str]:
        """How far the verdicts may be trusted, and what went wrong."""
        return verdicts.notes(self)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each contestant and task, the twins first: means of all figures, the gain and its intervals."""
        rows = []
        for name in (TWINS, *self.contestants):
            for task in self.tasks:
                figures = self.figures.get(name, {}).get(task, {})
                row: dict[str, Any] = {"contestant": name, "task": task, "seeds": _count(figures)}
                row |= {figure: self.mean(name, task, figure) for figure in figures}
                if name in self.gains:
                    row |= _gain_columns(self.gains[name][task])
                rows.append(row)
        return rows

    def table(self) -> str:
        """Means and gains as text."""
        return verdicts.table(self)

    def to_dataframe(self) -> "pd.DataFrame":
        """`rows()` as a pandas DataFrame."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("`to_dataframe` needs pandas: pip install pandas. `rows()` works without.") from error
        return pandas.DataFrame(self.rows())

    def to_html(self, path: str | PathLike[str]) -> Path:
        """Writes the report as one self-contained page, with pictures where matplotlib is installed (`tfmtl[plots]`)."""
        from tfmtl.analysis.comparing.comparison_page import comparison_page

        return comparison_page(self).write(path)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON types; what is undefined is None."""
        held: dict[str, Any] = _plain(asdict(self))
        return held

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """All of it as JSON text, which is also written to `path` where one is given."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        if path is not None:
            with replacing(path) as partial:
                partial.write_text(text + "\n", encoding="utf-8")
        return text

    def __str__(self) -> str:
        return "\n".join([self.table(), "", *self.verdicts, *self.notes])

    def _repr_html_(self) -> str:
        from tfmtl.analysis.comparing.comparison_page import comparison_fragment

        return comparison_fragment(self)


def _count(figures: Mapping[str, Mapping[int, float]]) -> int:
    return max((len(by_seed) for by_seed in figures.values()), default=0)


def _gain_columns(gain: Gain) -> dict[str, Any]:
    columns: dict[str, Any] = {"gain": gain.mean, "verdict": gain.verdict}
    for name, interval in (("seeds", gain.over_seeds), ("rows", gain.over_rows)):
        low, high = interval or (float("nan"), float("nan"))
        columns |= {f"gain_low_over_{name}": low, f"gain_high_over_{name}": high}
    return columns


def _plain(value: Any) -> Any:
    """`value` as JSON types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value

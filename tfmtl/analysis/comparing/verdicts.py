"""A comparison in words and as a table of text."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tfmtl.analysis.comparing.entry import TWINS
from tfmtl.analysis.comparing.gain import Gain
from tfmtl.analysis.comparing.scores import MAIN_FIGURE

if TYPE_CHECKING:
    from tfmtl.analysis.comparing.comparison import Comparison

FIGURES = {
    "binary": ("auc", "gauc", "logloss", "calibration"),
    "multiclass": ("auc", "logloss", "accuracy"),
    "regression": ("r2", "rmse"),
}
"""By the kind of a task, the figures that tables show."""

TITLES = {
    "auc": "AUC",
    "gauc": "group AUC",
    "logloss": "log loss",
    "calibration": "calibration",
    "accuracy": "accuracy",
    "r2": "R²",
    "rmse": "RMSE",
}


def of_contestant(name: str, gains: Mapping[str, Gain]) -> str:
    """What sharing did for the tasks of a contestant, in a sentence."""
    by_verdict: dict[str, list[Gain]] = {}
    for gain in gains.values():
        by_verdict.setdefault(gain.verdict, []).append(gain)
    parts = []
    for verdict, says in (("wins", "{} gains"), ("pays", "{} pays")):
        parts += [f"{says.format(gain.task)} {gain}" for gain in by_verdict.get(verdict, [])]
    if level := by_verdict.get("level"):
        parts.append(f"no difference shown for {_listed([f'{gain.task} {gain}' for gain in level])}")
    if unknown := by_verdict.get("unknown"):
        told = [f"{gain.task} {gain}" if gain.by_seed else f"{gain.task}, which no seed finished" for gain in unknown]
        parts.append(f"no verdict on {_listed(told)}")
    if not by_verdict.get("pays") and not by_verdict.get("unknown"):
        parts.append("no task is shown to pay")
    return f"{name}: {'; '.join(parts)}."


def notes(comparison: "Comparison") -> list[str]:
    """How far the verdicts may be trusted, and what went wrong."""
    settings = comparison.settings
    gains = [gain for of_one in comparison.gains.values() for gain in of_one.values()]
    confidence = settings["confidence"]
    found: list[str] = []
    drawn = f"over test {settings['drawn']}"
    if any(gain.over_seeds for gain in gains):
        both = settings["resamples"] > 0
        said = (
            f"the wider of two {confidence:.0%} intervals: over seeds, and {drawn}"
            if both
            else f"the {confidence:.0%} interval"
        )
        found.append(f"In brackets {said}. A task gains or pays where {'both exclude' if both else 'it excludes'} 0.")
    elif any(gain.over_rows for gain in gains):
        found.append(
            f"In brackets the {confidence:.0%} interval {drawn}. With one seed there is no interval over seeds, and so no "
            "verdict: another seed may turn a gain around."
        )
    if len(gains) > 1:
        found.append(
            f"{len(gains)} gains were looked at: if sharing did nothing, about {len(gains) * (1 - confidence):.1g} of them "
            f"would lie outside of a {confidence:.0%} interval all the same, so a single one is a lead and no proof."
        )
    found += [
        f"No value of {settings['group']!r} has rows of both classes of {task!r} in the test rows: there is no AUC within groups."
        for task in comparison.tasks
        if "gauc" in comparison.figures[TWINS].get(task, {}) and math.isnan(comparison.mean(TWINS, task, "gauc"))
    ]
    return [*found, *(f"Ended early: {failure}." for failure in comparison.failures)]


def header(comparison: "Comparison") -> list[str]:
    """The titles of `cells`."""
    return ["task", "model", "gain", "verdict", *(TITLES[figure] for figure in shown(comparison))]


def shown(comparison: "Comparison") -> list[str]:
    """The figures that the tables have a column for: those that any run has."""
    wanted = [figure for kind in FIGURES if kind in comparison.tasks.values() for figure in FIGURES[kind]]
    held = {figure for tasks in comparison.figures.values() for figures in tasks.values() for figure in figures}
    return [figure for figure in dict.fromkeys(wanted) if figure in held]


def cells(comparison: "Comparison") -> list[list[str]]:
    """Task by task, the twin and every contestant: means over the seeds, the gain with its interval, the verdict."""
    rows = []
    for task in comparison.tasks:
        for name in (TWINS, *comparison.contestants):
            figures = comparison.figures.get(name, {}).get(task, {})
            gain = comparison.gains.get(name, {}).get(task)
            row = [task, "single-task twin" if name == TWINS else name]
            row += ["", ""] if gain is None else [str(gain) if gain.by_seed else "", gain.verdict]
            row += [f"{comparison.mean(name, task, each):.4f}" if each in figures else "" for each in shown(comparison)]
            rows.append(row)
    return rows


def judged_by(comparison: "Comparison") -> str:
    """The figures that the gains are differences of."""
    kinds = dict.fromkeys(comparison.tasks.values())
    return " and ".join(f"{TITLES[MAIN_FIGURE[kind]]} of {kind} tasks" for kind in kinds)


def table(comparison: "Comparison") -> str:
    """`cells` in columns."""
    lines = [header(comparison), *cells(comparison)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" if place < 2 else f"{cell:>{width}}" for place, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

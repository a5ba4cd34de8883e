"""Predictions that belong to another task."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.analysis.doctor.rows import Rows
from tfmtl.analysis.doctor.significance import ALPHA, association, normal_tail
from tfmtl.schema import Task


def swapped_tasks(examined: Examination) -> Iterator[Finding]:
    """Pairs of tasks of which each one's predictions rank the other's labels better than its own are ranked."""
    pairs = [pair for pair in combinations(examined.sound, 2) if pair[0].kind == pair[1].kind]
    for first, second in pairs if examined.trained else ():
        own, other, chance = _ranks(examined.rows, first, second)
        # Each must be better by itself: the larger of the two chances counts.
        if min(np.subtract(other, own)) > 0 and chance * len(pairs) < ALPHA:
            examined.ruined |= {first.name, second.name}
            measure = "AUC" if first.kind == "binary" else "Fisher's z of the correlation"
            yield Finding(
                "swapped_tasks",
                "error",
                f"{first.name}, {second.name}",
                f"The predictions of {first.name!r} rank the labels of {second.name!r} better than those of {second.name!r} do, "
                f"and the other way round ({measure}).",
                "Two columns or outputs are interchanged: look at `label=` of both tasks, and at any place where outputs go by "
                "position instead of by name.",
                (first.name, second.name),
                {
                    f"{first.name}_by_own": own[0],
                    f"{first.name}_by_other": other[0],
                    f"{second.name}_by_own": own[1],
                    f"{second.name}_by_other": other[1],
                    "chance": chance,
                },
            )


def _ranks(rows: Rows, first: Task, second: Task) -> tuple[list[float], list[float], float]:
    """How each task's labels are ranked by its own predictions and by the other's, and the chance of such a difference."""
    own, other, chances = [], [], []
    for task, stranger in ((first, second), (second, first)):
        known = ~np.isnan(rows.labels[task.name])
        labels = rows.labels[task.name][known]
        of = {
            name: association(task.kind == "binary", labels, rows.predictions[name][known])
            for name in (task.name, stranger.name)
        }
        own.append(of[task.name][0])
        other.append(of[stranger.name][0])
        error = float(np.hypot(of[task.name][1], of[stranger.name][1]))
        chances.append(normal_tail((other[-1] - own[-1]) / error) if error > 0 else 1.0)
    return own, other, max(chances)

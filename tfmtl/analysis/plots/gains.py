"""The gain of every task with its intervals."""

from typing import TYPE_CHECKING

from tfmtl.analysis.comparing.comparison import Comparison
from tfmtl.analysis.comparing.verdicts import TITLES
from tfmtl.analysis.plots.canvas import INK, LEVEL, LINE, PAYS, WINS, canvas, grid_of, hide_unused

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERDICT_COLORS = {"wins": WINS, "pays": PAYS, "level": LEVEL, "unknown": LEVEL}


def plot_gains(comparison: Comparison) -> "Figure":
    """Draws each contestant's gain over the single-task twin, one picture a task.

    A dot is the mean over seeds, the thick bar the interval over test rows, the thin one that over seeds, a tick one seed.
    Green excludes 0 from below, red from above, grey shows no difference.

    Args:
        comparison: of `compare`.

    Raises:
        ImportError: matplotlib is not installed (`tfmtl[plots]`).

    Example:

    ```python
    plot_gains(report).savefig("gains.png")
    ```
    """
    names = comparison.contestants
    rows, columns = grid_of(len(comparison.tasks))
    figure, axes = canvas(rows, columns, width=3.4 * columns + 1, height=rows * (0.9 + 0.38 * len(names)), sharey=True)
    for each, task in zip(axes, comparison.tasks, strict=False):
        each.axvline(0, color=INK, linewidth=0.8)
        for place, name in enumerate(names):
            gain = comparison.gains[name][task]
            color = VERDICT_COLORS[gain.verdict]
            if gain.over_seeds:
                each.plot(gain.over_seeds, [place, place], color=color, linewidth=1.4, solid_capstyle="butt")
            if gain.over_rows:
                each.plot(gain.over_rows, [place, place], color=color, linewidth=4.5, alpha=0.45, solid_capstyle="butt")
            each.plot(
                list(gain.by_seed.values()), [place] * len(gain.by_seed), "|", color=color, markersize=8, alpha=0.7
            )
            each.plot([gain.mean], [place], "o", color=color, markersize=6)
        each.set_title(task)
        each.set_xlabel(f"gain in {TITLES[comparison.settings['judged_by'][task]]} over the twin")
        each.set_yticks(range(len(names)), names)
        each.set_ylim(len(names) - 0.5, -0.5)
        each.grid(axis="x", color=LINE, linewidth=0.6)
        each.set_axisbelow(True)
        each.locator_params(axis="x", nbins=5)
    hide_unused(axes, len(comparison.tasks))
    return figure

"""Who wins and who pays."""

from typing import TYPE_CHECKING

import numpy as np

from tfmtl.analysis.comparing.comparison import Comparison
from tfmtl.analysis.plots.canvas import INK, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALE = 0.3
"""How much of its colour a gain keeps that is not shown by every interval."""

SIGNS = {"wins": "▲", "pays": "▼", "level": "", "unknown": "?"}


def plot_seesaw(comparison: Comparison) -> "Figure":
    """Draws contestants against tasks: green where a task is above its twin, red where it is below.

    A triangle and full colour mark a difference that every interval shows; the others are pale. One row that is green on one side and red on the other is the
    seesaw: one task's gain is paid by another. Binary tasks, by their AUC, and regressions, by the variance that they
    explain, are coloured by scales of their own.

    Args:
        comparison: of `compare`.

    Raises:
        ImportError: matplotlib is not installed (`tfmtl[plots]`).
    """
    names, tasks = comparison.contestants, list(comparison.tasks)
    gains = np.array([[comparison.gains[name][task].mean for task in tasks] for name in names])
    kinds = np.array([comparison.tasks[task] for task in tasks])
    shares = np.zeros_like(gains)
    for kind in set(kinds.tolist()):
        of_kind = gains[:, kinds == kind]
        largest = np.abs(of_kind[np.isfinite(of_kind)]).max(initial=0.0)
        shares[:, kinds == kind] = of_kind / largest if largest else 0.0
    shown = np.array([[comparison.gains[name][task].verdict in ("wins", "pays") for task in tasks] for name in names])
    shares = np.where(shown, shares, PALE * shares)
    figure, (axes,) = canvas(1, 1, width=1.8 + 1.25 * len(tasks), height=1.0 + 0.5 * len(names))
    axes.imshow(shares, cmap="RdYlGn", vmin=-1.6, vmax=1.6, aspect="auto")
    for row, name in enumerate(names):
        for column, task in enumerate(tasks):
            gain = comparison.gains[name][task]
            text = f"{gain.mean:+.4f} {SIGNS[gain.verdict]}".strip() if gain.by_seed else "?"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=INK)
    axes.set_xticks(range(len(tasks)), tasks)
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure

"""How losses and figures went from epoch to epoch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfmtl.analysis.comparing.comparison import Comparison
from tfmtl.analysis.comparing.verdicts import TITLES
from tfmtl.analysis.plots.canvas import COLORS, LINE, canvas, colors_of, count_epochs, legend_below

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSSES, FIGURES = ("loss", "logloss", "mse"), ("auc", "r2", "rmse")
"""What is drawn above and below: the first of these that the logs hold."""

STYLES: dict[str, dict[str, Any]] = {
    "training": {"linestyle": "-", "color": COLORS[0]},
    "validation": {"linestyle": "--", "color": COLORS[1]},
}


def plot_curves(history: Any, tasks: Iterable[str]) -> "Figure":
    """Draws each task's loss, and its AUC or the like, by epoch: training as a line, validation as a dashed one.

    Args:
        history: what `fit` returns, or a dict of its lists. Names are `{task}_loss` (`{task}_logloss` where there is none) and
            `{task}_auc`, with `val_` before those of validation rows, as `objectives` and `Validation` log them.
        tasks: which to draw.

    Raises:
        ValueError: no task, or one of which the history holds nothing.
        ImportError: matplotlib is not installed (`tfmtl[plots]`).

    Example:

    >>> from tfmtl.analysis.plots import plot_curves
    >>> figure = plot_curves({"click_loss": [0.6, 0.5], "val_click_auc": [0.7, 0.72]}, ["click"])
    """
    logs: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    names = list(tasks)
    unknown = [task for task in names if not any(_curves(logs, task))]
    if not names or unknown:
        raise ValueError(
            f"`history` must hold a loss or a figure of every task. Received: tasks={names}, nothing of {unknown}; "
            f"known: {sorted(logs)}"
        )
    figure, axes = canvas(2, len(names), width=3.1 * len(names) + 0.4, height=4.6, sharex=True)
    for column, task in enumerate(names):
        for each, drawn in zip((axes[column], axes[len(names) + column]), _curves(logs, task), strict=True):
            for label, (name, values) in drawn.items():
                each.plot(range(1, len(values) + 1), values, "o", markersize=3, label=label, **STYLES[label])
                each.set_ylabel(TITLES.get(name, name))
            each.grid(color=LINE, linewidth=0.5)
            count_epochs(each, max((len(values) for _, values in drawn.values()), default=1))
        axes[column].set_title(task)
        axes[len(names) + column].set_xlabel("epoch")
    shown = next(each for each in axes if len(each.lines) == max(len(every.lines) for every in axes))
    legend_below(figure, shown)
    return figure


def plot_learning(comparison: Comparison) -> "Figure":
    """Draws how each task went on the validation rows of a comparison: loss above, AUC or explained variance below.

    A thin line is one seed. What rises on one task while it falls on another is a matter of when to stop.

    Args:
        comparison: of `compare`.

    Raises:
        ImportError: matplotlib is not installed (`tfmtl[plots]`).
    """
    tasks = list(comparison.tasks)
    figure, axes = canvas(2, len(tasks), width=3.1 * len(tasks) + 0.4, height=4.9, sharex=True)
    colors = colors_of(list(comparison.curves))
    for column, task in enumerate(tasks):
        main = comparison.settings["judged_by"][task]
        loss = "val_rmse" if comparison.tasks[task] == "regression" else "val_logloss"
        for row, figure_name in enumerate((loss, f"val_{main}")):
            each = axes[row * len(tasks) + column]
            for name, of_model in comparison.curves.items():
                for number, curve in enumerate(of_model.get(task, ())):
                    values = [epoch[figure_name] for epoch in curve]
                    style: dict[str, Any] = {
                        "color": colors[name],
                        "linewidth": 1,
                        "alpha": 0.8,
                        "marker": ".",
                        "markersize": 4,
                    }
                    each.plot(range(1, len(values) + 1), values, label=name if number == 0 else None, **style)
            each.set_ylabel(TITLES[figure_name.removeprefix("val_")])
            each.grid(color=LINE, linewidth=0.5)
            count_epochs(each, comparison.settings["epochs"])
        axes[column].set_title(task)
        axes[len(tasks) + column].set_xlabel("epoch")
    legend_below(figure, axes[0])
    return figure


def _curves(logs: Mapping[str, Sequence[float]], task: str) -> list[dict[str, tuple[str, Sequence[float]]]]:
    """The losses of a task, and its figures: `(name, values)` of training and of validation, as far as they are there."""
    found = []
    for names in (LOSSES, FIGURES):
        drawn = {}
        for label, prefix in (("training", f"{task}_"), ("validation", f"val_{task}_")):
            name = next((each for each in names if f"{prefix}{each}" in logs), None)
            if name is not None:
                drawn[label] = (name, logs[f"{prefix}{name}"])
        found.append(drawn)
    return found

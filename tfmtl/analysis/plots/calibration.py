"""Whether predictions are as high as labels are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from tfmtl.analysis.plots.canvas import LINE, SOFT, canvas, colors_of, grid_of, hide_unused, legend_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Bins: TypeAlias = Sequence[tuple[float, float, int]]
"""`(mean prediction, mean label, rows)` of bins of equally many rows, as `calibration_bins` cuts them."""


def plot_calibration(bins: Mapping[str, Mapping[str, Bins]]) -> "Figure":
    """Draws mean label over mean prediction in bins of equally many rows, one picture a task.

    On the diagonal a prediction of 3 % comes true 3 times in 100; points below it are predictions that are too high. Axes
    are logarithmic where all values are positive, so that rare events show.

    Args:
        bins: `{model: {task: bins}}`, such as `comparison.calibration`.

    Raises:
        ValueError: no bins.
        ImportError: matplotlib is not installed (`tfmtl[plots]`).

    Example:

    >>> from tfmtl.analysis.plots import plot_calibration
    >>> figure = plot_calibration({"PLE": {"click": [(0.1, 0.12, 500), (0.4, 0.35, 500)]}})
    """
    tasks = list(dict.fromkeys(task for of_model in bins.values() for task in of_model))
    if not tasks:
        raise ValueError(f"`bins` must be {{model: {{task: bins}}}}, one or more. Received: bins={bins!r}")
    rows, columns = grid_of(len(tasks))
    figure, axes = canvas(rows, columns, width=3.3 * columns, height=3.1 * rows + 0.5)
    colors = colors_of(list(bins))
    for each, task in zip(axes, tasks, strict=False):
        points = [point for of_model in bins.values() for point in of_model.get(task, ())]
        values = [value for prediction, label, _ in points for value in (prediction, label)]
        if values and min(values) > 0:
            _make_logarithmic(each)
        if values:
            each.plot([min(values), max(values)], [min(values), max(values)], color=SOFT, linewidth=0.8, linestyle="--")
        for name, of_model in bins.items():
            if of_model.get(task):
                predictions, labels, _ = zip(*of_model[task], strict=True)
                each.plot(predictions, labels, "o-", color=colors[name], markersize=4, linewidth=1.2, label=name)
        each.set_title(task)
        each.set_xlabel("mean prediction")
        each.set_ylabel("mean label")
        each.grid(color=LINE, linewidth=0.5)
        each.set_axisbelow(True)
    hide_unused(axes, len(tasks))
    legend_below(figure, axes[0])
    return figure


def _make_logarithmic(axes: "Axes") -> None:
    """Both axes, with round numbers that can be read."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=6))
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_formatter(NullFormatter())

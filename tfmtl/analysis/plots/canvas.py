"""What all pictures have in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#2f6db3", "#d9822b", "#3a9a5b", "#9b59b6", "#c0392b", "#16a3a3", "#8c6d46", "#5d6878")
"""Told apart in print and by the colour-blind as far as eight can be."""

INK, SOFT, LINE = "#1c2430", "#5d6878", "#dde2e9"
WINS, PAYS, LEVEL = "#2e8b57", "#c0392b", "#8a94a3"
"""Of a verdict."""


def canvas(rows: int, columns: int, *, width: float, height: float, **options: Any) -> tuple["Figure", list["Axes"]]:
    """A figure with `rows` times `columns` axes, row by row; it belongs to no window and nobody has to close it.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Plots need matplotlib: pip install "tfmtl[plots]"') from error
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set_color(LINE)
        each.tick_params(colors=SOFT, labelsize=9)
        each.title.set(color=INK, fontsize=11)
        for axis in (each.xaxis, each.yaxis):
            axis.label.set(color=SOFT, fontsize=9)
    return figure, axes


def grid_of(count: int, *, most: int = 3) -> tuple[int, int]:
    """Rows and columns for `count` small pictures."""
    columns = min(count, most)
    return -(-count // columns), columns


def colors_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, the same in every picture of a report."""
    return {name: COLORS[place % len(COLORS)] for place, name in enumerate(names)}


def legend_below(figure: "Figure", axes: "Axes", *, columns: int = 4) -> None:
    """One legend under all pictures, of what `axes` shows."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9, labelcolor=INK
        )


def count_epochs(axes: "Axes", epochs: int) -> None:
    """Whole numbers from 1 to `epochs` along the lower edge."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(1 - 0.05 * epochs, epochs + 0.05 * epochs)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def hide_unused(axes: Sequence["Axes"], used: int) -> None:
    """Leaves out the axes that fill up the last row."""
    for each in axes[used:]:
        each.set_axis_off()

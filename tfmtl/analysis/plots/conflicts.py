"""Which tasks want opposite things."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfmtl.analysis.plots.canvas import INK, SOFT, canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_conflicts(cosines: np.ndarray, tasks: Sequence[str]) -> "Figure":
    """Draws the cosines between the tasks' gradients: blue where they agree, red where one's step undoes another's.

    Args:
        cosines: `(K, K)`, such as `suggest_weights(...).cosines`; NaN, drawn as a question mark, where two tasks never met.
        tasks: their names, in that order.

    Raises:
        ValueError: a matrix of another shape.
        ImportError: matplotlib is not installed (`tfmtl[plots]`).

    Example:

    >>> import numpy as np
    >>> from tfmtl.analysis.plots import plot_conflicts
    >>> figure = plot_conflicts(np.array([[1.0, -0.2], [-0.2, 1.0]]), ["click", "buy"])
    """
    cosines = np.asarray(cosines, "float64")
    if cosines.shape != (len(tasks), len(tasks)):
        raise ValueError(
            f"`cosines` must be ({len(tasks)}, {len(tasks)}), for tasks {list(tasks)}. Received: shape={cosines.shape}"
        )
    figure, (axes,) = canvas(1, 1, width=2.2 + 0.75 * len(tasks), height=1.3 + 0.65 * len(tasks))
    shown = axes.imshow(np.ma.masked_invalid(cosines), cmap="RdBu", vmin=-1, vmax=1)
    for row in range(len(tasks)):
        for column in range(len(tasks)):
            cosine = cosines[row, column]
            text = "?" if np.isnan(cosine) else f"{cosine:+.2f}"
            color = "white" if abs(cosine) > 0.6 else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=color)
    axes.set_xticks(range(len(tasks)), tasks, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(tasks)), tasks)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(shown, shrink=0.8)
    bar.set_label("cosine of gradients", color=SOFT, fontsize=9)
    bar.ax.tick_params(colors=SOFT, labelsize=8)
    bar.outline.set_visible(False)
    return figure

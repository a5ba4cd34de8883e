"""The choices that no other is better than in everything."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def pareto_front(figures: Any, *, maximize: bool | Sequence[bool] | Mapping[str, bool] = True) -> list[int]:
    """Finds the points that no other dominates: another is as good in every figure and better in one.

    Points with the same figures stand or fall together. A point with a figure that is no number is dominated: nothing is
    known in its favour.

    Args:
        figures: `(N, M)`, a row for each epoch or trial; or a list of dicts by name.
        maximize: whether larger is better, for all figures, one for each column, or by name.

    Returns:
        The rows of the front, in their order.

    Raises:
        ValueError: figures that are no table, dicts of other names, or a `maximize` of another length or other names.

    Example:

    >>> from tfmtl.training import pareto_front
    >>> pareto_front([{"click": 0.70, "buy": 0.61}, {"click": 0.72, "buy": 0.60}, {"click": 0.69, "buy": 0.60}])
    [0, 1]
    >>> pareto_front([[0.70, 0.31], [0.72, 0.30]], maximize=[True, False])
    [1]
    """
    names: list[str] | None = None
    if isinstance(figures, Sequence) and figures and isinstance(figures[0], Mapping):
        names = list(figures[0])
        if any(not isinstance(row, Mapping) or set(row) != set(names) for row in figures):
            raise ValueError(f"`figures` must hold dicts of the same names, {names}. Received: figures={figures!r}")
        figures = [[row[name] for name in names] for row in figures]
    table = np.asarray(figures, "float64")
    if not table.size:
        return []
    if table.ndim != 2:
        raise ValueError(f"`figures` must be (N, M), a row for each choice. Received: shape={table.shape}")
    points = table * _signs(maximize, names, table.shape[1])
    known = ~np.isnan(points).any(axis=1)
    return [place for place in np.flatnonzero(known).tolist() if not _is_dominated(points[place], points[known])]


def _is_dominated(point: np.ndarray, others: np.ndarray) -> bool:
    """Whether one of `others` is as good everywhere and better somewhere."""
    return bool(((others >= point).all(axis=1) & (others > point).any(axis=1)).any())


def _signs(maximize: bool | Sequence[bool] | Mapping[str, bool], names: list[str] | None, count: int) -> np.ndarray:
    if isinstance(maximize, Mapping):
        if names is None or set(maximize) != set(names):
            raise ValueError(f"`maximize` by name must name the figures, {names}. Received: maximize={dict(maximize)}")
        up = [maximize[name] for name in names]
    else:
        up = [maximize] * count if isinstance(maximize, bool) else list(maximize)
    if len(up) != count:
        raise ValueError(
            f"`maximize` must be one for all or one for each of {count} figures. Received: maximize={maximize!r}"
        )
    return np.where(up, 1.0, -1.0)

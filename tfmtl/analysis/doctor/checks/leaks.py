"""Features that tell the label."""

from collections.abc import Iterator

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.analysis.doctor.significance import association
from tfmtl.schema import Sequence, Task

AREA = 0.99
"""No honest feature of a recommender ranks its rows so well by itself."""

MOST_ROWS = 50_000
"""So many rows show such a feature."""

SURE = 3.0
"""How many standard errors the AUC lies above `AREA` at least."""


def leaking_feature(examined: Examination) -> Iterator[Finding]:
    """Features of which one alone ranks a task's labels, on rows that its scores were not made from."""
    for task in examined.schema.tasks:
        labels = examined.rows.labels[task.name][:MOST_ROWS]
        known = ~np.isnan(labels)
        labels = labels[known]
        if task.name in examined.ruined & _of_one_class(examined) or len(np.unique(labels)) < 2:
            continue
        for name, kind, values in _features(examined, known):
            rank, error = association(task.kind == "binary", labels, scores_of(values, kind, labels))
            area, least = _as_area(task, rank, error)
            if least > AREA:
                yield Finding(
                    "leaking_feature",
                    "error",
                    f"{name} -> {task.name}",
                    f"{name!r} alone ranks the labels of {task.name!r} with "
                    f"{'an AUC' if task.kind == 'binary' else 'a correlation'} of {area:.4f}.",
                    "It is the label in other words, or known only after it: leave it out, or take its value from before the event.",
                    (task.name,),
                    {"auc" if task.kind == "binary" else "correlation": area, "rows": len(labels)},
                )


def _of_one_class(examined: Examination) -> set[str]:
    """The tasks that have nothing to rank."""
    return {task.name for task in examined.schema.tasks if len(np.unique(examined.rows.of_task(task.name)[0])) < 2}


def _as_area(task: Task, rank: float, error: float) -> tuple[float, float]:
    """The AUC or correlation, whatever its sign, and what it is at least."""
    if task.kind == "binary":
        area = max(rank, 1 - rank)
        return area, area - SURE * error
    return abs(float(np.tanh(rank))), float(np.tanh(abs(rank) - SURE * error))


def _features(examined: Examination, known: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """`(name, kind, values)` of what single features say; kinds are ids, numbers and histories (with padding as -1)."""

    def column(name: str) -> np.ndarray:
        return examined.rows.columns[name][:MOST_ROWS][known]

    for feature in examined.schema.features:
        if isinstance(feature, Sequence):
            if feature.mask not in examined.rows.columns:
                continue
            present = column(feature.mask) > 0
            yield f"the length of {feature.name}", "numbers", present.sum(1).astype("float64")
            for name in feature.id_columns:
                if name in examined.rows.columns:
                    yield name, "histories", np.where(present, column(name), -1)
        elif feature.name in examined.rows.columns:
            values = column(feature.name)
            numbers = values.dtype.kind == "f"
            for place, part in enumerate(values.reshape(len(values), -1).T):
                name = feature.name if values.size == len(values) else f"{feature.name}[{place}]"
                yield name, "numbers" if numbers else "ids", part
                if numbers and np.isnan(part).any():
                    yield f"whether {name} is missing", "numbers", np.isnan(part).astype("float64")


def scores_of(values: np.ndarray, kind: str, labels: np.ndarray) -> np.ndarray:
    """A score of each row from this feature alone. An id's is the mean label of other rows that have it."""
    if kind == "numbers":
        filled = np.where(np.isnan(values), np.nanmean(values) if not np.isnan(values).all() else 0.0, values)
        return filled.astype("float64")
    scores = np.full(len(labels), float(labels.mean()))
    half = np.arange(len(labels)) % 2 == 0
    values = values[:, None] if values.ndim == 1 else values
    present = values >= 0
    distinct, codes = np.unique(values, return_inverse=True)  # few, however large a table is
    at, size = codes.reshape(values.shape), len(distinct)
    for part in (half, ~half):
        row_labels = np.repeat(labels[part, None].astype("float64"), values.shape[1], axis=1)
        counts = np.bincount(at[part].ravel(), present[part].ravel(), size)
        sums = np.bincount(at[part].ravel(), (row_labels * present[part]).ravel(), size)
        rates = (sums + labels.mean()) / (counts + 1)  # one row's worth of the mean, so that a single row says little
        of_row = (rates[at] * present).sum(1) / np.maximum(present.sum(1), 1)
        scores[~part] = np.where(present.any(1), of_row, labels.mean())[~part]
    return scores

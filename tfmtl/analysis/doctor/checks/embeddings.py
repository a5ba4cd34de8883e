"""Embedding tables that training does not move."""

from collections.abc import Iterator

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.tables import is_table

MOVED = 0.05
"""Rows that moved by less than a twentieth of their length still point where they were drawn, to within 3 degrees."""


def still_embeddings(examined: Examination) -> Iterator[Finding]:
    """Tables whose rows are nearly as they were before training; rows that no step touched do not count."""
    if examined.initial is None or not examined.trained:
        return
    weights = examined.model.weights
    if len(weights) != len(examined.initial):
        raise ValueError(
            "`initial` must be what `model.get_weights()` gave before training. "
            f"Received: {len(examined.initial)} arrays for {len(weights)} weights"
        )
    for variable, before in zip(weights, examined.initial, strict=True):
        after = np.asarray(variable)
        frozen = not variable.trainable  # as `Categorical(trainable=False)` wants it
        if not is_table(variable) or frozen or after.ndim != 2 or after.shape != np.shape(before):
            continue
        distance = np.linalg.norm(after - before, axis=1)
        moved = distance > 0
        length = np.linalg.norm(before, axis=1)[moved]
        typical = float(np.median(distance[moved] / np.maximum(length, 1e-12))) if moved.any() else 0.0
        if typical < MOVED:
            name = getattr(variable, "path", variable.name)
            yield Finding(
                "still_embeddings",
                "warning",
                name,
                f"The rows of the table {name!r} moved by {typical:.2%} of their length: they are still what they were drawn as.",
                "Give tables a higher learning rate (`optimizer(embeddings=..., dense=...)`, `LazyAdam`), draw them smaller, or "
                "look at whether they are frozen.",
                (),
                {"relative_movement": typical, "rows_moved": int(moved.sum()), "rows": len(moved)},
            )

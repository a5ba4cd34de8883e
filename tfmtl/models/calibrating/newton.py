"""Newton's method for a convex loss of few numbers (NumPy)."""

from collections.abc import Callable

import numpy as np

STEPS, HALVINGS, CONVERGED = 100, 30, 1e-10


def least(
    start: np.ndarray,
    loss: Callable[[np.ndarray], float],
    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Where `loss` is least: steps by its slope and curvature, halved as long as one does not lower it."""
    found = start
    for _ in range(STEPS):
        step = np.linalg.solve(*derivatives(found)[::-1])
        size, before = 1.0, loss(found)
        while loss(found - size * step) > before and size > 0.5**HALVINGS:
            size /= 2
        found = found - size * step
        if np.abs(size * step).max() < CONVERGED:
            break
    return found

"""The gradients of the tasks by what they share, measured over a few steps."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TaskGradients:
    """What was measured of `S` steps and `K` tasks; the shared dense weights lie in `L` layers.

    Attributes:
        tasks: names, in the order of the axes.
        layers: of the shared dense weights.
        gramians: `(S, L, K, K)`, inner products of the tasks' gradients by the weights of each layer.
        own: `(S, K)`, squared length of each task's gradient by the dense weights that no other task reaches.
        labelled: `(S, K)`, rows with a label.
    """

    tasks: tuple[str, ...]
    layers: tuple[str, ...]
    gramians: np.ndarray
    own: np.ndarray
    labelled: np.ndarray

    @property
    def joint(self) -> np.ndarray:
        """The Gramian over all shared dense weights, `(S, K, K)`."""
        return self.gramians.sum(1)

    @property
    def squares(self) -> np.ndarray:
        """Squared length of each task's gradient by the shared dense weights, `(S, K)`."""
        return np.diagonal(self.joint, axis1=1, axis2=2)

    @property
    def mean_cosines(self) -> np.ndarray:
        """The cosine of every pair of tasks, `(K, K)`, mean over the steps in which both had a gradient; NaN without any."""
        between = cosines(self.joint)
        with np.errstate(invalid="ignore"):
            return np.nansum(between, axis=0) / (~np.isnan(between)).sum(0)


def cosines(gramians: np.ndarray) -> np.ndarray:
    """The cosine of every pair of tasks, `(..., K, K)`; NaN where one of them has no gradient."""
    lengths = np.sqrt(np.diagonal(gramians, axis1=-2, axis2=-1))
    both = lengths[..., :, None] * lengths[..., None, :]
    return np.divide(gramians, both, out=np.full_like(gramians, np.nan), where=both > 0)

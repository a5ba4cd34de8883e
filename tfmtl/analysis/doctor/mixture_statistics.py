"""What experts and gates did with all rows."""

from dataclasses import dataclass

import numpy as np

PEAKED = 0.99
"""A gate that gives one expert more than this has picked it: the others change its output by less than a hundredth."""


@dataclass
class GateStatistics:
    """A gate over all rows.

    Attributes:
        experts: `(owner, number)` of each weight.
        mean: mean weight of each expert, `(N,)`.
        most: the largest weight that any row gives it, `(N,)`.
        least: the smallest, `(N,)`.
        peaked: the share of rows whose largest weight is above `PEAKED`.
        chosen: of these rows, how many picked each expert, `(N,)`.
        entropy: mean entropy of a row's weights, over that of an even gate.
    """

    experts: list[tuple[str, int]]
    mean: np.ndarray
    most: np.ndarray
    least: np.ndarray
    peaked: float
    chosen: np.ndarray
    entropy: float


@dataclass
class MixtureStatistics:
    """A level of experts and gates over all rows.

    Attributes:
        name: of the level.
        experts: `(owner, number)` of each expert.
        length: root mean square of each expert's output, `(E,)`.
        spread: root mean square of its distance from its own mean over the rows, `(E,)`.
        inner: mean inner product of two experts' outputs, `(E, E)`.
        gates: `{reader: its gate}`.
    """

    name: str
    experts: list[tuple[str, int]]
    length: np.ndarray
    spread: np.ndarray
    inner: np.ndarray
    gates: dict[str, GateStatistics]

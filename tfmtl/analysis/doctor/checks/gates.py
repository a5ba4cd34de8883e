"""Gates that do not choose, and gates that have chosen for good."""

from collections.abc import Iterator

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.analysis.doctor.mixture_statistics import PEAKED, GateStatistics

ALL = 0.99
"""A gate that has picked one expert for fewer rows than this still mixes."""

EVEN = 0.05
"""A gate none of whose weights is ever further than this part from even could be an average."""


def is_one_hot(gate: GateStatistics) -> bool:
    """Whether a gate has picked one expert in (nearly) all rows."""
    return gate.peaked >= ALL


def collapsed_gates(examined: Examination) -> Iterator[Finding]:
    """Gates that are one-hot for all rows, or even for all rows once the model was trained."""
    for mixture in examined.mixtures:
        for reader, gate in mixture.gates.items():
            where, even = f"{mixture.name}, gate of {reader}", 1 / len(gate.experts)
            evidence = {"entropy": gate.entropy, "rows_peaked": gate.peaked, "experts": len(gate.experts)}
            if is_one_hot(gate):
                picked = [gate.experts[place] for place in np.flatnonzero(gate.chosen)]
                names = ", ".join(f"{owner} {number}" for owner, number in picked)
                yield Finding(
                    "one_hot_gate",
                    "warning",
                    where,
                    f"The gate gives one expert more than {PEAKED} in {gate.peaked:.1%} of the rows ({names}): "
                    + ("the other experts are not read." if len(picked) == 1 else "it picks, and does not mix."),
                    "Lower the learning rate or the scale of what the gate reads, add dropout to the experts, or use fewer of them.",
                    () if reader == "shared" else (reader,),
                    {**evidence, "experts_picked": len(picked)},
                )
            elif examined.trained and max(gate.most.max() / even - 1, 1 - gate.least.min() / even) < EVEN:
                yield Finding(
                    "uniform_gate",
                    "warning",
                    where,
                    f"No weight of the gate is ever further than {EVEN:.0%} from even: it does not tell rows or experts apart.",
                    "Look at whether the gate is trained (frozen layers, a learning rate that is too low) and whether what it "
                    "reads differs between rows; if so, an average of fewer experts does the same.",
                    () if reader == "shared" else (reader,),
                    {**evidence, "largest_weight": float(gate.most.max()), "smallest_weight": float(gate.least.min())},
                )

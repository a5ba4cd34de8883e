"""The work that every contestant does: PLE on rows shaped like Criteo's. Needs nothing but NumPy."""

import argparse
from dataclasses import dataclass, fields

import numpy as np

CATEGORICAL, NUMERIC, DIM = 20, 10, 16
LEVELS, TASK_EXPERTS, SHARED_EXPERTS, EXPERT_UNITS, TOWER_UNITS = 2, 4, 4, 256, 64
BATCHES = 16
"""Held in memory and taken in turn."""


@dataclass(frozen=True)
class Workload:
    """What differs from one comparison to the next.

    Args:
        ids: size of a feature's vocabulary.
        drawn: ids are drawn below this number; 0 for all. It lets a large table see the rows of a small one.
        tasks: how many.
        batch: rows a step.
        precision: "float32" or "mixed_bfloat16".
        metrics: whether the AUC, log loss and calibration of every task are kept.
        model: "ple" or "stem_net"; for the readers, what is read.
    """

    ids: int = 20_000
    drawn: int = 0
    tasks: int = 2
    batch: int = 2048
    precision: str = "float32"
    metrics: int = 0
    model: str = "ple"

    @classmethod
    def from_arguments(cls) -> "Workload":
        parser = argparse.ArgumentParser()
        for field in fields(cls):
            parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
        return cls(**vars(parser.parse_args()))

    def arguments(self) -> list[str]:
        return [f"--{field.name}={getattr(self, field.name)}" for field in fields(self)]

    @property
    def task_names(self) -> list[str]:
        return [f"t{i}" for i in range(self.tasks)]

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids `(N, 20)` int32 with Zipf's popularity, numbers `(N, 10)` and labels `(N, tasks)` float32."""
        random = np.random.default_rng(0)
        rows = self.batch * BATCHES
        ids = np.minimum(random.zipf(1.2, (rows, CATEGORICAL)) - 1, (self.drawn or self.ids) - 1).astype("int32")
        numbers = random.standard_normal((rows, NUMERIC)).astype("float32")
        slopes = random.standard_normal((NUMERIC, self.tasks))
        noise = random.standard_normal((rows, self.tasks))
        return ids, numbers, (numbers @ slopes + ids[:, :1] % 2 + noise > 0).astype("float32")

    def batches(self) -> tuple[np.ndarray, ...]:
        """The arrays cut into batches, `(16, B, ...)`, so that no contestant's time has the cutting in it."""
        return tuple(values.reshape(BATCHES, self.batch, -1) for values in self.arrays())

    @property
    def activation_bytes(self) -> int:
        """What a step of PLE has to keep for its way back, in float32: input, experts, mixtures and towers."""
        experts, readers = self.tasks * TASK_EXPERTS + SHARED_EXPERTS, self.tasks * LEVELS + LEVELS - 1
        numbers = CATEGORICAL * DIM + NUMERIC + (LEVELS * experts + readers) * EXPERT_UNITS + self.tasks * TOWER_UNITS
        return 4 * self.batch * numbers

    @property
    def matmul_flops(self) -> int:
        """Of one step: the experts' and towers' products, forward and twice backward."""
        experts = self.tasks * TASK_EXPERTS + SHARED_EXPERTS
        widths = [CATEGORICAL * DIM + NUMERIC, *[EXPERT_UNITS] * (LEVELS - 1)]
        forward = sum(2 * self.batch * experts * width * EXPERT_UNITS for width in widths)
        return 3 * (forward + 2 * self.batch * self.tasks * EXPERT_UNITS * TOWER_UNITS)

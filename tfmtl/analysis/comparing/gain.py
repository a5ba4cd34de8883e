"""What sharing did for one task."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tfmtl.analysis.comparing.intervals import Interval

Verdict: TypeAlias = Literal["wins", "pays", "level", "unknown"]


@dataclass(frozen=True)
class Gain:
    """The figure of a task in a model, less that of the single-task twin trained with the same seed.

    Args:
        contestant: the model.
        task: the task.
        figure: `"auc"` of a binary task, `"r2"` of a regression: above 0 the model is better than the twin.
        by_seed: the difference for every seed that both sides finished.
        mean: of these; NaN where there are none.
        over_seeds: Student's interval over the seeds: what another draw of weights and orders would change. None for one seed.
        over_rows: the bootstrap's interval over the test rows, or over groups of them: what another test set would change.
            None where it was not asked for.
    """

    contestant: str
    task: str
    figure: str
    by_seed: dict[int, float]
    mean: float
    over_seeds: Interval | None
    over_rows: Interval | None

    @property
    def verdict(self) -> Verdict:
        """`"wins"` where every interval lies above 0, `"pays"` where every one lies below, else `"level"`: no difference shown.

        `"unknown"` without an interval over seeds: what one training found, another may not find.
        """
        if self.over_seeds is None:
            return "unknown"
        intervals = [interval for interval in (self.over_seeds, self.over_rows) if interval is not None]
        if all(low > 0 for low, _ in intervals):
            return "wins"
        return "pays" if all(high < 0 for _, high in intervals) else "level"

    @property
    def interval(self) -> Interval | None:
        """The wider of the two intervals; None where there is none."""
        intervals = [interval for interval in (self.over_seeds, self.over_rows) if interval is not None]
        return max(intervals, key=lambda interval: interval[1] - interval[0], default=None)

    def __str__(self) -> str:
        found = self.interval
        if found is None:
            return f"{self.mean:+.4f}"
        return f"{self.mean:+.4f} [{found[0]:+.4f}, {found[1]:+.4f}]"

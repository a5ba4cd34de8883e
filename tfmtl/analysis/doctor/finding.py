"""One thing that is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from tfmtl.checks import check_option

Severity: TypeAlias = Literal["error", "warning", "note"]
"""`"error"`: a task cannot be learned or its figures mean nothing. `"warning"`: it costs quality. `"note"`: worth knowing."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)

FAULTS: dict[str, str] = {
    "unlabelled_task": "no row has a label of the task",
    "single_class": "all labels of the task are alike",
    "unlabelled_stretch": "a stretch of the rows has no label of the task, or labels of one class only",
    "contradicting_labels": "labels contradict the declared chain or sample space",
    "not_finite": "predictions are not finite",
    "not_probabilities": "predictions of a binary task lie outside of 0 to 1",
    "untrained_head": "no loss trains the task's output",
    "constant_predictions": "all rows get the same prediction",
    "swapped_tasks": "the predictions of two tasks are interchanged",
    "unread_output": "the model predicts what the schema does not name",
    "leaking_feature": "one feature alone tells the label",
    "unknown_ids": "many ids of a column are outside of its vocabulary",
    "conflicting_gradients": "two tasks want opposite things of the weights that they share",
    "drowned_task": "the other tasks alone decide where the shared weights go",
    "dead_experts": "experts give zeros for every row",
    "constant_experts": "experts give the same for every row",
    "identical_experts": "experts give the same as others",
    "one_hot_gate": "a gate picks one expert and leaves the others out",
    "uniform_gate": "a gate weighs all experts alike",
    "captured_expert": "a shared expert serves one task alone",
    "starved_experts": "a task hardly reads its own experts",
    "unused_experts": "no task reads an expert",
    "still_embeddings": "embedding tables are still what they were drawn as",
    "miscalibrated": "predictions are off from how often the label is 1",
    "overfitting": "the task gets worse on rows that it was not trained on",
    "better_alone": "a single-task model serves the task better",
}
"""All that a report can name, with a sentence for each."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, how it shows, and what to do.

    Attributes:
        name: of the fault, a key of `FAULTS`.
        severity: `"error"`, `"warning"` or `"note"`.
        where: the task, pair of tasks, layer or column.
        message: a sentence that says what was seen.
        advice: what to do.
        tasks: the tasks that it is about.
        evidence: the numbers behind it.
    """

    name: str
    severity: Severity
    where: str
    message: str
    advice: str
    tasks: tuple[str, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"`name` must be one of {sorted(FAULTS)}. Received: name={self.name!r}")
        check_option("severity", self.severity, Severity)
        object.__setattr__(self, "evidence", {key: float(value) for key, value in self.evidence.items()})

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.evidence.items())
        return f"{self.severity.upper()}  {self.name}: {self.where}\n  {self.message}\n  {numbers}\n  -> {self.advice}"

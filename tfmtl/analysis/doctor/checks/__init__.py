"""The checks, in the order in which they are made: causes before what they cause."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from tfmtl.analysis.doctor.checks.calibration import miscalibrated
from tfmtl.analysis.doctor.checks.columns import unknown_ids
from tfmtl.analysis.doctor.checks.embeddings import still_embeddings
from tfmtl.analysis.doctor.checks.experts import captured_expert, identical_experts, idle_experts, starved_experts
from tfmtl.analysis.doctor.checks.gates import collapsed_gates
from tfmtl.analysis.doctor.checks.gradients import conflicting_gradients, drowned_task
from tfmtl.analysis.doctor.checks.labels import contradicting_labels, missing_labels, unlabelled_stretch
from tfmtl.analysis.doctor.checks.leaks import leaking_feature
from tfmtl.analysis.doctor.checks.overfitting import overfitting
from tfmtl.analysis.doctor.checks.sharing import better_alone
from tfmtl.analysis.doctor.checks.swaps import swapped_tasks
from tfmtl.analysis.doctor.checks.wiring import meaningless_predictions, unread_output, untrained_head
from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding

Check: TypeAlias = Callable[[Examination], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    missing_labels,
    unlabelled_stretch,
    contradicting_labels,
    untrained_head,
    meaningless_predictions,
    unread_output,
    swapped_tasks,
    leaking_feature,
    unknown_ids,
    conflicting_gradients,
    drowned_task,
    collapsed_gates,
    idle_experts,
    identical_experts,
    captured_expert,
    starved_experts,
    still_embeddings,
    miscalibrated,
    overfitting,
    better_alone,
)

__all__ = ["CHECKS", "Check"]

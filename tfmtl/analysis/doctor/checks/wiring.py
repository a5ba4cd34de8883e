"""Outputs that nothing trains, and predictions that mean nothing."""

from collections.abc import Iterator

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.schema import Task

SPREAD = 1e-3
"""Predictions whose standard deviation is below this part of the labels' explain less than a millionth of their variance."""


def untrained_head(examined: Examination) -> Iterator[Finding]:
    """Tasks whose loss reaches no weight, or that have no loss in `compile`."""
    for place, task in enumerate(examined.schema.tasks):
        reason = _untrained_because(examined, place, task.name)
        if reason and task.name not in examined.ruined:
            examined.ruined.add(task.name)
            measured = examined.gradients
            length = 0.0 if measured is None else float(np.sqrt((measured.squares + measured.own)[:, place].mean()))
            yield Finding(
                "untrained_head",
                "error",
                task.name,
                f"The output {task.name!r} is not trained: {reason}.",
                "Compile with `**objectives(schema.tasks)`, which has a loss for each task, and look at what stands between "
                "the output and the weights: a stopped gradient, frozen layers, units that are 0 for every row.",
                (task.name,),
                {"loss_weight": examined.weights[task.name], "gradient": length},
            )


def _untrained_because(examined: Examination, place: int, task: str) -> str:
    if not examined.weights[task]:
        return "`compile` gave it no loss, or a loss of weight 0"
    measured = examined.gradients
    if measured is None:
        return ""
    labelled = measured.labelled[:, place] > 0
    if labelled.any() and not (measured.squares + measured.own)[labelled, place].any():
        return f"in {int(labelled.sum())} steps with labels its loss had a gradient of 0 by every dense weight"
    return ""


def meaningless_predictions(examined: Examination) -> Iterator[Finding]:
    """Predictions that are not finite, no probabilities, or all alike; their tasks are ruined for the checks that follow."""
    for task in examined.sound:
        finding = _meaningless(task, examined)
        if finding is not None:
            examined.ruined.add(task.name)
            yield finding


def _meaningless(task: Task, examined: Examination) -> Finding | None:
    labels, predictions, _ = examined.rows.of_task(task.name)
    infinite = int((~np.isfinite(predictions)).sum())
    if infinite:
        return Finding(
            "not_finite",
            "error",
            task.name,
            f"{infinite:,} of {len(predictions):,} predictions of {task.name!r} are not finite.",
            "Lower the learning rate, look for infinite or huge numbers among the features, and clip gradients; "
            "`keras.callbacks.TerminateOnNaN` stops a run there.",
            (task.name,),
            {"not_finite": infinite, "rows": len(predictions)},
        )
    low, high = float(predictions.min()), float(predictions.max())
    if task.kind == "binary" and (low < 0 or high > 1):
        return Finding(
            "not_probabilities",
            "error",
            task.name,
            f"Predictions of {task.name!r} lie between {low:.3g} and {high:.3g}.",
            "End the output in a sigmoid: losses, metrics and exports read probabilities, not logits.",
            (task.name,),
            {"least": low, "most": high},
        )
    ratio = float(predictions.std() / labels.std())
    if examined.trained and ratio < SPREAD:
        return Finding(
            "constant_predictions",
            "error",
            task.name,
            f"All rows get the same prediction of {task.name!r}, {float(predictions.mean()):.4g}.",
            "Look for units that are 0 for every row, a learning rate that is too high, regularisation that is too strong, or "
            "an output that does not depend on the features.",
            (task.name,),
            {
                "mean": float(predictions.mean()),
                "deviation": float(predictions.std()),
                "deviation_of_labels": float(labels.std()),
            },
        )
    return None


def unread_output(examined: Examination) -> Iterator[Finding]:
    """Outputs that are no tasks of the schema."""
    for name in sorted(set(examined.rows.outputs) - set(examined.schema.task_names)):
        yield Finding(
            "unread_output",
            "note",
            name,
            f"The model has an output {name!r}, which is no task of the schema.",
            "Name it in the schema if it is one: nothing here speaks of it.",
        )

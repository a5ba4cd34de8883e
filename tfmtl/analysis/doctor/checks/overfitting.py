"""Tasks that get worse on rows that they were not trained on."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.analysis.doctor.rows import Rows
from tfmtl.analysis.doctor.significance import ALPHA, normal_tail
from tfmtl.schema import Task

PATIENCE = 2
"""Epochs after the best one, so that one unlucky epoch is no trend."""

RISE = 0.1
"""The validation loss rises by more than this part of what the training loss falls by in the same epochs."""

LOST = 0.5
"""Less than half of what the model explains of its training rows holds for others."""


def overfitting(examined: Examination) -> Iterator[Finding]:
    """Tasks whose validation loss rises while their training loss falls; without a history, tasks that memorise."""
    curves = {task.name: _curves(examined, task) for task in examined.schema.tasks}
    best = {name: int(np.argmin(pair[1])) for name, pair in curves.items() if pair is not None}
    for task in examined.sound:
        pair = curves[task.name]
        finding = _in_history(task, pair, best) if pair is not None else None
        if finding is None and examined.train is not None and examined.trained:
            finding = _in_rows(task, examined.train, examined.rows)
        if finding is not None:
            yield finding


def _curves(examined: Examination, task: Task) -> tuple[Sequence[float], Sequence[float]] | None:
    """The losses of each epoch on training and on validation rows, or None where the history lacks them."""
    alone = len(examined.schema.tasks) == 1
    plain = "mse" if task.kind == "regression" else "logloss"
    trained = [f"{task.name}_loss", *(["loss"] if alone else [])]
    judged = [f"val_{task.name}_loss", f"val_{task.name}_{plain}", *(["val_loss"] if alone else [])]
    found = [
        next((examined.history[name] for name in names if name in examined.history), None)
        for names in (trained, judged)
    ]
    if (
        found[0] is None
        or found[1] is None
        or len(found[0]) != len(found[1])
        or not np.isfinite([found[0], found[1]]).all()
    ):
        return None
    return found[0], found[1]


def _in_history(task: Task, pair: tuple[Sequence[float], Sequence[float]], best: dict[str, int]) -> Finding | None:
    trained, judged = pair
    epoch, last = best[task.name], len(judged) - 1
    fall, rise = trained[epoch] - trained[-1], judged[-1] - judged[epoch]
    if last - epoch < PATIENCE or fall <= 0 or rise <= RISE * fall:
        return None
    others = sorted(name for name, other in best.items() if other > epoch)
    while_others = f" while {', '.join(map(repr, others))} improved longer" if others else ""
    return Finding(
        "overfitting",
        "warning",
        task.name,
        f"The validation loss of {task.name!r} was best after epoch {epoch + 1} of {last + 1} and rose since{while_others}.",
        "Regularise this task's own part (`tower_dropout`, smaller or regularised tables, `embeddings_regularizer`), lower its "
        "weight as training goes on (`Task(weight_decay=...)`), or keep the epoch that suits all tasks (`BestCheckpoint`).",
        (task.name,),
        {
            "best_epoch": epoch + 1,
            "epochs": last + 1,
            "rise": rise,
            "fall_in_training": fall,
            **{f"best_epoch_of_{name}": best[name] + 1 for name in others},
        },
    )


def _in_rows(task: Task, train: Rows, rows: Rows) -> Finding | None:
    """What the model explains of the rows it was trained on, and of these; as parts of the loss of answering the mean."""
    parts = [_row_losses(task, *each.of_task(task.name)[:2]) for each in (train, rows)]
    if any(part is None or len(part) < 2 for part in parts):
        return None
    known, other = (part for part in parts if part is not None)
    explained, held = 1 - float(known.mean()), 1 - float(other.mean())
    error = math.sqrt(known.var() / len(known) + other.var() / len(other))
    if explained <= 0 or held > LOST * explained or not error or normal_tail((explained - held) / error) > ALPHA:
        return None
    return Finding(
        "overfitting",
        "warning",
        task.name,
        f"The model does without {explained:.1%} of the loss of {task.name!r} on training rows, and without {held:.1%} on others.",
        "Stop earlier (`BestCheckpoint`), regularise tables of many ids (`embeddings_regularizer`, a smaller `dim`, a higher "
        "`min_count`) and this task's own part (`tower_dropout`). If the rows are from later days, some of it is drift.",
        (task.name,),
        {"explained_in_training": explained, "explained": held, "rows": len(other)},
    )


def _row_losses(task: Task, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray | None:
    """The loss of each row, over that of always answering the mean of these rows."""
    if not len(labels) or labels.min() == labels.max():
        return None
    labels, predictions = labels.astype("float64"), predictions.astype("float64")
    if task.kind == "regression":
        return np.square(labels - predictions) / labels.var()
    rate, clipped = labels.mean(), np.clip(predictions, 1e-7, 1 - 1e-7)
    unit = -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
    return -np.log(np.where(labels == 1, clipped, 1 - clipped)) / unit

"""Labels that are not there, or that contradict each other."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.analysis.doctor.rows import Rows
from tfmtl.analysis.doctor.significance import ALPHA, chance_of_run
from tfmtl.schema import Schema, Task

STRETCH = 0.1
"""A stretch shorter than a tenth of the rows is made good by the rest of the epoch."""

CONTRADICTIONS = 0.01
"""Logs of real events hold some: in KuaiRand, 0.4 % of the long views have no click."""


def missing_labels(examined: Examination) -> Iterator[Finding]:
    """Tasks without a label, or with labels of one class; they are ruined for all checks that follow."""
    for task in examined.schema.tasks:
        labels, _, _ = examined.rows.of_task(task.name)
        evidence = {"rows": examined.rows.count, "labels": len(labels)}
        if not len(labels):
            examined.ruined.add(task.name)
            yield Finding(
                "unlabelled_task",
                "error",
                task.name,
                f"None of the {examined.rows.count:,} rows has a label of {task.name!r}.",
                f"Look at its label, {task.label or task.name!r}, and at its sample space, {task.sample_space!r}: do the "
                "column's values have the type and the spelling that the schema names?",
                (task.name,),
                evidence,
            )
        elif labels.min() == labels.max():
            examined.ruined.add(task.name)
            yield _alike(task, labels, evidence)


def _alike(task: Task, labels: np.ndarray, evidence: Mapping[str, float]) -> Finding:
    value = float(labels[0])
    expected = _share_of(task, value)
    by_chance = expected is not None and expected ** len(labels) > ALPHA
    return Finding(
        "single_class",
        "note" if by_chance else "error",
        task.name,
        f"All {len(labels):,} labels of {task.name!r} are {value:g}"
        + (", as few labels of its base rate may well be." if by_chance else ": there is nothing to learn or to rank."),
        "Give more rows: nothing can be said of this task."
        if by_chance
        else f"Look at its label, {task.label or task.name!r}, and at how the rows were chosen.",
        (task.name,),
        {**evidence, "label": value},
    )


def _share_of(task: Task, value: float) -> float | None:
    """How often a label of a binary task is `value`, if the schema knows."""
    if task.kind != "binary" or task.mean is None:
        return None
    return task.mean if value else 1 - task.mean


def unlabelled_stretch(examined: Examination) -> Iterator[Finding]:
    """Long runs of rows without a label, or with labels of one class: the rows are sorted, or a day's labels are missing."""
    rows, name = (examined.rows, "the dataset") if examined.train is None else (examined.train, "the training set")
    for task in examined.sound:
        labels = rows.labels[task.name]
        known = ~np.isnan(labels)
        kinds = {"without a label": (known, rows.count)}
        if task.kind == "binary":
            kinds["whose labels are all 0"] = (labels[known] == 1, int(known.sum()))
            kinds["whose labels are all 1"] = (labels[known] == 0, int(known.sum()))
        for what, (events, total) in kinds.items():
            start, length = _longest_gap(events)
            if (
                not events.any()
                or length < STRETCH * total
                or chance_of_run(length, float(events.mean()), total) > ALPHA
            ):
                continue
            of = "rows" if what == "without a label" else "labelled rows"
            yield Finding(
                "unlabelled_stretch",
                "warning",
                task.name,
                f"{length:,} of the {total:,} {of} of {name} follow each other {what} of {task.name!r}, from row {start:,} on.",
                "Shuffle the rows, or look at what happened to the labels there: in such a stretch the shared weights forget "
                "the task.",
                (task.name,),
                {"first_row": start, "length": length, "share_of_rows": length / total, "rate": float(events.mean())},
            )
            break


def _longest_gap(events: np.ndarray) -> tuple[int, int]:
    """`(start, length)` of the longest run of False."""
    edges = np.concatenate([[-1], np.flatnonzero(events), [len(events)]])
    gaps = np.diff(edges) - 1
    longest = int(gaps.argmax())
    return int(edges[longest]) + 1, int(gaps[longest])


def contradicting_labels(examined: Examination) -> Iterator[Finding]:
    """Labels outside of a sample space, and steps of a chain without the step before."""
    for task in examined.schema.tasks:
        for space in _spaces(examined.schema, task):
            outside = (examined.rows.labels[space] == 0) & ~np.isnan(examined.rows.labels[task.name])
            yield from _contradiction(
                examined.rows,
                (space, task.name),
                int(outside.sum()),
                int((~np.isnan(examined.rows.labels[task.name])).sum()),
                f"labels of {task.name!r} lie where {space!r} is 0, outside of its sample space",
                "Outside of the sample space a label must be missing (NaN), as `tfmtl.read` makes it: there it is no negative.",
            )
    for chain in examined.chains:
        for before, step in pairwise(chain):
            if before in examined.rows.labels and step in examined.rows.labels:
                happened = examined.rows.labels[step] == 1
                yield from _contradiction(
                    examined.rows,
                    (before, step),
                    int((happened & (examined.rows.labels[before] == 0)).sum()),
                    int(happened.sum()),
                    f"positives of {step!r} lie where {before!r} is 0, which the chain {' -> '.join(chain)} rules out",
                    "A chain predicts a step at most as often as the step before. Leave this task out of the chain, or label a "
                    "step 1 only where the whole path to it happened.",
                )


def _contradiction(
    rows: Rows, tasks: tuple[str, str], wrong: int, total: int, what: str, advice: str
) -> Iterator[Finding]:
    if wrong:
        share = wrong / total
        yield Finding(
            "contradicting_labels",
            "warning" if share > CONTRADICTIONS else "note",
            " -> ".join(tasks),
            f"{wrong:,} of {total:,} {what}.",
            advice,
            tasks,
            {"contradicting": wrong, "share": share, "rows": rows.count},
        )


def _spaces(schema: Schema, task: Task) -> Iterator[str]:
    """The binary tasks whose label the sample space of `task` asks to be 1."""
    for condition in task.conditions:
        for other in schema.tasks:
            label = other.label or other.name
            same = condition == label or (
                isinstance(label, str) and isinstance(condition, tuple) and condition == (label, 1)
            )
            if other.name != task.name and other.kind == "binary" and same:
                yield other.name

"""From finished runs to what they say."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfmtl.analysis.calibration_bins import calibration_bins
from tfmtl.analysis.comparing.comparison import Comparison, Cost, Failure
from tfmtl.analysis.comparing.entry import TWINS, Entry
from tfmtl.analysis.comparing.gain import Gain
from tfmtl.analysis.comparing.intervals import bootstrap_errors, over_rows, over_seeds
from tfmtl.analysis.comparing.run import Run
from tfmtl.analysis.comparing.scores import MAIN_FIGURE, figures_of
from tfmtl.schema import Schema, Task
from tfmtl.training.held_rows import HeldRows

Runs = Mapping[int, Run]
"""The runs of an entry with its best learning rate, by seed."""


def assemble(
    schema: Schema,
    finished: Sequence[tuple[Entry, Runs]],
    test: HeldRows,
    failures: Sequence[Failure],
    settings: dict[str, Any],
) -> Comparison:
    """Everything that a report shows, from the runs of every entry."""
    names = tuple(dict.fromkeys(entry.name for entry, _ in finished if not entry.is_twin))
    figures: dict[str, dict[str, Any]] = {name: {} for name in (TWINS, *names)}
    curves: dict[str, dict[str, Any]] = {name: {} for name in figures}
    calibration: dict[str, dict[str, Any]] = {name: {} for name in figures}
    gains: dict[str, dict[str, Gain]] = {name: {} for name in names}
    for task in schema.tasks:
        of_task = {entry.name: runs for entry, runs in finished if task.name in entry.schema.task_names}
        for name, runs in of_task.items():
            figures[name][task.name] = _figures(task, runs, test)
            calibration[name][task.name] = _bins(task, runs, test)
            curves[name][task.name] = [_curve(task, run) for run in runs.values()]
        gains_of_task = _gains(task, of_task, figures, test, settings)
        for name in names:
            gains[name][task.name] = gains_of_task[name]
    return Comparison(
        tasks={task.name: task.kind for task in schema.tasks},
        contestants=names,
        figures=figures,
        gains=gains,
        costs={name: _cost([(entry, runs) for entry, runs in finished if entry.name == name]) for name in figures},
        curves=curves,
        calibration=calibration,
        failures=tuple(failures),
        settings=settings,
    )


def _figures(task: Task, runs: Runs, test: HeldRows) -> dict[str, dict[int, float]]:
    """By figure and seed."""
    found: dict[str, dict[int, float]] = {}
    for seed, run in runs.items():
        for figure, value in figures_of(task, test, run.predictions[task.name]).items():
            found.setdefault(figure, {})[seed] = value
    return found


def _gains(
    task: Task,
    of_task: Mapping[str, Runs],
    figures: Mapping[str, Mapping[str, Any]],
    test: HeldRows,
    settings: Mapping[str, Any],
) -> dict[str, Gain]:
    """The gain of every contestant over the twin of the task."""
    main, confidence = MAIN_FIGURE[task.kind], settings["confidence"]
    predictions = {
        name: {seed: run.predictions[task.name] for seed, run in runs.items()} for name, runs in of_task.items()
    }
    twins = predictions.pop(TWINS)
    errors = bootstrap_errors(task, test, predictions, twins, settings["resamples"])
    gains = {}
    for name in predictions:
        ours, theirs = figures[name][task.name].get(main, {}), figures[TWINS][task.name].get(main, {})
        by_seed = {seed: ours[seed] - theirs[seed] for seed in ours if seed in theirs}
        mean = float(np.mean(list(by_seed.values()))) if by_seed else float("nan")
        gains[name] = Gain(
            contestant=name,
            task=task.name,
            figure=main,
            by_seed=by_seed,
            mean=mean,
            over_seeds=over_seeds(list(by_seed.values()), confidence),
            over_rows=over_rows(mean, errors[name], confidence),
        )
    return gains


def _bins(task: Task, runs: Runs, test: HeldRows) -> list[tuple[float, float, int]]:
    """Of all seeds together, of a multiclass task of all classes together: each against the others."""
    if not runs:
        return []
    if task.kind == "multiclass":
        return _bins_of_classes(task, runs, test)
    labels = np.tile(test.labels[task.name], len(runs))
    weights = None if test.weights is None else np.tile(test.weights[task.name], len(runs))
    predictions = np.concatenate([task.judged(run.predictions[task.name]) for run in runs.values()])
    return [(each.prediction, each.label, each.rows) for each in calibration_bins(labels, predictions, weights)]


def _bins_of_classes(task: Task, runs: Runs, test: HeldRows) -> list[tuple[float, float, int]]:
    labels, classes = test.labels[task.name], task.num_classes or 0
    alone = np.where(np.isnan(labels)[:, None], np.nan, labels[:, None] == np.arange(classes))  # (N, C)
    predictions = np.concatenate([run.predictions[task.name].ravel() for run in runs.values()])
    weights = None if test.weights is None else np.tile(np.repeat(test.weights[task.name], classes), len(runs))
    bins = calibration_bins(np.tile(alone.ravel(), len(runs)), predictions, weights)
    return [(each.prediction, each.label, each.rows) for each in bins]


def _curve(task: Task, run: Run) -> list[dict[str, float]]:
    """The figures of one task by epoch, under their names without the task's."""
    renamed = {f"{task.name}_loss": "loss", **{f"val_{task.name}_{name}": f"val_{name}" for name in _SHOWN}}
    alone = len(run.predictions) == 1  # then Keras logs the task's loss as `loss`
    return [
        {short: epoch[name] for name, short in renamed.items() if name in epoch}
        | ({"loss": epoch["loss"]} if alone and "loss" in epoch else {})
        for epoch in run.curve
    ]


_SHOWN = ("auc", "logloss", "rmse", "r2")


def _cost(finished: Sequence[tuple[Entry, Runs]]) -> Cost:
    """Of one contestant, or of all twins together."""
    parameters, seconds = 0, 0.0
    epochs: dict[str, float] = {}
    rates: dict[str, float] = {}
    for entry, runs in finished:
        if not runs:
            continue
        whose = entry.schema.task_names[0] if entry.is_twin else "all"
        some = next(iter(runs.values()))
        parameters += some.parameters
        seconds += statistics.median(run.step_seconds for run in runs.values())
        epochs[whose] = statistics.mean(run.epoch for run in runs.values())
        rates[whose] = some.learning_rate
    return Cost(parameters=parameters, step_seconds=seconds, epochs=epochs, learning_rates=rates)

"""Does sharing help? Models of several tasks against a single-task twin for each task."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from typing import Any

from tfmtl.analysis.comparing.assemble import assemble
from tfmtl.analysis.comparing.comparison import Comparison, Failure
from tfmtl.analysis.comparing.contestant import (
    Contestant,
    Maker,
    as_contestant,
    check_contestants,
    check_optimizer,
    check_rates,
)
from tfmtl.analysis.comparing.entry import TWINS, Entry
from tfmtl.analysis.comparing.parts import adapted, check_parts, held_parts
from tfmtl.analysis.comparing.progress import Progress
from tfmtl.analysis.comparing.run import Budget, Run, run
from tfmtl.analysis.comparing.run_folder import RunFolder
from tfmtl.analysis.comparing.scores import MAIN_FIGURE
from tfmtl.checks import check_count
from tfmtl.keras_host import BACKEND, inputs_by_name
from tfmtl.optimizers import LazyAdam
from tfmtl.schema import Schema
from tfmtl.training.held_rows import HeldRows


def compare(
    schema: Schema,
    contestants: Mapping[str, Maker | Contestant],
    train: Any,
    valid: Any,
    test: Any,
    *,
    twin: Maker | Contestant | None = None,
    seeds: int | Sequence[int] = 5,
    epochs: int = 5,
    batch_size: int = 1024,
    patience: int | None = None,
    learning_rates: Sequence[float] = (1e-3,),
    optimizer: Callable[[float], Any] = LazyAdam,
    normalize: bool | None = None,
    preprocessor: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    group: str | None = None,
    confidence: float = 0.95,
    resamples: int = 200,
    folder: str | PathLike[str] | None = None,
    verbose: bool = True,
) -> Comparison:
    """Trains models and a single-task twin for every task over several seeds, and says which tasks gain by sharing.

    ```
    gain(model, task) = mean over seeds of  AUC(model, task, seed) - AUC(twin of task, seed)
    ```

    A twin is a model of one task, trained on the rows that have its label and judged on the same rows as everybody. All
    get the same encoded rows, held in memory, in the same order for the same seed; the same number of epochs and rows a
    step; and the same rule: the weights of the epoch with the highest mean over the model's tasks, on `valid`, of the AUC
    (of a regression, the share of the labels' variance that is explained) predict `test`. With several `learning_rates`
    everyone tries all of them with the first seed and keeps the one with the highest such mean. `test` decides nothing.

    The gain has two intervals, Student's over the seeds and a bootstrap's over the test rows, and the report calls a gain
    or a loss only what both show. See `Comparison` for what comes back, `docs/compare.md` for how to read it.

    Args:
        schema: its tasks are compared. It need not be adapted where `train` is something that `read` takes.
        contestants: by name, functions that build a model for a schema (presets are such), or `Contestant`s, which also say
            how the model is balanced, weighted and optimized.
        train: encoded `tf.data` batches `(x, y)` or `(x, y, sample_weight)`, or raw ones with `preprocessor`, or what `read`
            takes: a path, a table, a DataFrame, a dict of columns.
        valid: rows to choose epoch and learning rate with.
        test: rows to report on.
        twin: builds the twins, each with the schema of one task; None takes the first contestant. A head over a chain of
            tasks cannot be built for one: give another.
        seeds: how many, 1, 2 ..., or which.
        epochs: passes over `train`.
        batch_size: rows a step.
        patience: ends a run after so many epochs without a better mean on `valid`; None trains all epochs.
        learning_rates: the grid; a contestant may have its own.
        optimizer: makes an optimizer of a learning rate.
        normalize: as in `objectives`.
        preprocessor: encodes the batches of `tf.data`; what `read` takes is encoded by the schema.
        group: a raw column, such as the user's: adds the AUC within groups, and the bootstrap draws groups.
        confidence: of the intervals.
        resamples: draws of the bootstrap; 0 leaves out the interval over rows.
        folder: keeps every finished run, so that a second call repeats none of them. A run is known by what it depends on:
            data, model, tasks, optimizer, epochs, seed. None keeps nothing.
        verbose: shows the runs and about how long the rest will take.

    Returns:
        A `Comparison`. A run whose loss is not finite, or that fails, is named in it with the reason, and the others go on.
        An interrupt (Ctrl-C) is raised; finished runs are in `folder`.

    Raises:
        ValueError: a backend other than TensorFlow, an unknown column or task, a model that is not functional or returns no
            dict with the tasks, a task without labels or with one class only in a part, one task whose twin is the only
            contestant itself, or arguments out of range.

    Example:

    ```python
    report = compare(schema, {"PLE": ple, "MMoE": mmoe}, train, valid, test, twin=single_task, folder="runs")
    print(report)
    report.to_html("report.html")
    ```
    """
    if BACKEND != "tensorflow":
        raise ValueError(
            f"`compare` needs the TensorFlow backend, whose datasets it reads. Received: backend={BACKEND!r}"
        )
    given = check_contestants(contestants, TWINS)
    budget = Budget(
        epochs=check_count("epochs", epochs),
        batch_size=check_count("batch_size", batch_size),
        patience=None if patience is None else check_count("patience", patience),
    )
    numbers = _seeds(seeds)
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1). Received: confidence={confidence!r}")
    check_count("resamples", resamples, least=0)
    check_optimizer(optimizer)
    if twin is None and len(given) == len(schema.tasks) == 1:
        raise ValueError(
            f"The schema has one task, {schema.task_names[0]!r}, so the only contestant is its own twin: give `twin`, or a "
            "schema of several tasks."
        )
    schema = adapted(schema, train)
    defaults = {"optimizer": optimizer, "learning_rates": check_rates(learning_rates), "normalize": normalize}
    entries = list(_entries(schema, given, twin, defaults))
    described, columns = _checked(entries)
    parts = held_parts(schema, columns, {"train": train, "valid": valid, "test": test}, preprocessor, group)
    check_parts(schema, parts)
    data = {name: rows.fingerprint for name, rows in parts.items()}
    study = _Study(parts, budget, RunFolder(folder), data, verbose)
    finished = study.train(entries, described, numbers)
    settings = {
        "seeds": list(numbers),
        **asdict(budget),
        "confidence": confidence,
        "resamples": resamples,
        "group": group,
        "drawn": "rows" if group is None else f"groups of {group}",
        "rows": {name: len(rows) for name, rows in parts.items()},
        "normalize": normalize,
        "judged_by": {task.name: MAIN_FIGURE[task.kind] for task in schema.tasks},
    }
    return assemble(schema, finished, parts["test"], study.failures, settings)


class _Study:
    """Trains every entry with every seed, but for runs that the folder holds."""

    def __init__(
        self, parts: Mapping[str, HeldRows], budget: Budget, folder: RunFolder, data: dict[str, str], verbose: bool
    ):
        self.parts = parts
        self.budget = budget
        self.folder = folder
        self.data = data
        self.verbose = verbose
        self.failures: list[Failure] = []

    def train(
        self, entries: Sequence[Entry], described: Sequence[dict[str, Any]], seeds: Sequence[int]
    ) -> list[tuple[Entry, dict[int, Run]]]:
        """Of every entry the runs with its best learning rate, by seed.

        One seed after the other, so that the models take turns and the times of their steps can be compared.
        """
        count = sum(len(entry.learning_rates) + len(seeds) - 1 for entry in entries)
        progress = Progress(count, self.budget.epochs, verbose=self.verbose)
        found: list[dict[int, Run]] = [{} for _ in entries]
        rates = [entry.learning_rates for entry in entries]
        for seed in seeds:
            for place, entry in enumerate(entries):
                tried = [self._run(entry, described[place], seed, rate, progress) for rate in rates[place]]
                best = max((each for each in tried if each), key=lambda each: each.score, default=None)
                rates[place] = (best.learning_rate,) if best else rates[place][:1]
                if best:
                    found[place][seed] = best
        return list(zip(entries, found, strict=True))

    def _run(self, entry: Entry, described: dict[str, Any], seed: int, rate: float, progress: Progress) -> Run | None:
        """The run, from the folder or trained now; None, and a line in `failures`, for one that failed."""
        depends_on = {
            **described,
            "seed": seed,
            "learning_rate": rate,
            "optimizer": entry.described_optimizer(rate),
            "budget": asdict(self.budget),
            "data": self.data,
        }
        progress.start(f"{entry.label}, seed {seed}" + (f", {rate:g}" if len(entry.learning_rates) > 1 else ""))
        kept = self.folder.load(depends_on)
        if kept is not None:
            progress.end(f"{kept.score:.4f} on valid, kept from before", trained=False)
            return kept
        try:
            made = run(entry, seed, rate, self.budget, self.parts, progress.epoch)
        except Exception as error:  # whatever a model does, the others go on
            reason = str(error) or type(error).__name__
            self.failures.append(Failure(entry.label, seed, rate, reason))
            progress.end(f"ended early, {reason}")
            return None
        self.folder.save(depends_on, made)
        progress.end(f"{made.score:.4f} on valid in epoch {made.epoch}, {made.seconds:.0f} s")
        return made


def _entries(
    schema: Schema, given: Mapping[str, Contestant], twin: Maker | Contestant | None, defaults: dict[str, Any]
) -> Iterator[Entry]:
    """The twins, then the contestants."""
    of_twins = next(iter(given.values())).alone() if twin is None else as_contestant(twin).alone()
    for task in schema.task_names:
        yield Entry(TWINS, schema.with_tasks([task]), of_twins, **_own(of_twins, defaults))
    for name, contestant in given.items():
        yield Entry(name, schema, contestant, **_own(contestant, defaults))


def _own(contestant: Contestant, defaults: dict[str, Any]) -> dict[str, Any]:
    """What a contestant says of itself, or else what all have."""
    own = {name: getattr(contestant, name) for name in defaults}
    return {name: defaults[name] if value is None else value for name, value in own.items()}


def _checked(entries: Sequence[Entry]) -> tuple[list[dict[str, Any]], list[str]]:
    """What the runs of each entry depend on, and the columns that all of them read.

    Every model is built and compiled once before the first is trained: what is wrong with one shows now, and with a
    contestant before it shows with the twins that are built as it is.
    """
    described: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
    columns: set[str] = set()
    for entry in sorted(entries, key=lambda entry: entry.is_twin):
        try:
            model = entry.compiled(entry.learning_rates[0], 1)
        except Exception as error:
            hint = ". Give `twin`, a model that can be built for one task" if entry.is_twin else ""
            raise ValueError(f"{entry.label} cannot be built and compiled: {error}{hint}") from error
        described[entry.key] = entry.described(model)
        columns |= set(inputs_by_name(model))
    return [described[entry.key] for entry in entries], sorted(columns)


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, Sequence) and not isinstance(seeds, str):
        numbers = tuple(check_count("seeds", seed, least=0) for seed in seeds)
        if numbers and len(set(numbers)) == len(numbers):
            return numbers
        raise ValueError(f"`seeds` must be distinct, one or more. Received: seeds={seeds!r}")
    return tuple(range(1, check_count("seeds", seeds) + 1))

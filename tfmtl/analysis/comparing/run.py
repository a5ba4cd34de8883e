"""One training of one model, from its first weights to its predictions on the test rows."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfmtl.analysis.comparing.entry import Entry
from tfmtl.analysis.comparing.scores import score, valid_figures
from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.training.held_rows import HeldRows
from tfmtl.training.row_predictor import RowPredictor


class RunFailed(Exception):
    """A run that cannot go on; the message says why."""


@dataclass(frozen=True)
class Budget:
    """What every run may spend.

    Args:
        epochs: passes over the rows to train on, at most.
        batch_size: rows a step.
        patience: epochs without a better score on the validation rows after which a run ends; None trains all epochs.
    """

    epochs: int
    batch_size: int
    patience: int | None = None


@dataclass(frozen=True)
class Run:
    """What a finished run leaves.

    Args:
        seed: of weights, dropout and the order of rows.
        learning_rate: that of its optimizer.
        epoch: the one with the best score on the validation rows, counted from 1; its weights made the predictions.
        score: that score.
        curve: by epoch, the figures of every task on the validation rows, the training losses and the score.
        parameters: the numbers in its weights.
        step_seconds: the median of its steps.
        seconds: the run took.
        predictions: by task, `(N,)` of the test rows.
    """

    seed: int
    learning_rate: float
    epoch: int
    score: float
    curve: list[dict[str, float]]
    parameters: int
    step_seconds: float
    seconds: float
    predictions: dict[str, np.ndarray] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All but the predictions, as JSON types."""
        return {name: value for name, value in vars(self).items() if name != "predictions"}


def run(
    entry: Entry,
    seed: int,
    rate: float,
    budget: Budget,
    parts: Mapping[str, HeldRows],
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Run:
    """Trains a new model of `entry` and predicts the test rows with the weights of its best epoch.

    Raises:
        RunFailed: a loss or a score that is not a number.
    """
    started = time.perf_counter()
    keras.utils.set_random_seed(seed)
    steps = -(-len(parts["train"]) // budget.batch_size)
    model = entry.compiled(rate, steps)
    columns, tasks = list(inputs_by_name(model)), entry.schema.task_names
    train = parts["train"].batches(budget.batch_size, columns, tasks, seed=seed)
    predict = RowPredictor(model, parts["valid"])
    watch = _Watch(entry, predict, parts["valid"], budget.patience, on_epoch)
    model.fit(train, epochs=budget.epochs, callbacks=[watch], shuffle=False, verbose=0)  # shuffled already
    model.set_weights(watch.best_weights)
    finished = Run(
        seed=seed,
        learning_rate=rate,
        epoch=watch.best_epoch,
        score=watch.best_score,
        curve=watch.curve,
        parameters=int(model.count_params()),
        step_seconds=statistics.median(watch.step_seconds),
        seconds=time.perf_counter() - started,
        predictions=predict(parts["test"]),
    )
    del model, predict, watch, train
    gc.collect()  # a model and what was traced of it hold each other
    return finished


class _Watch(keras.callbacks.Callback):
    """Scores every epoch on the validation rows, keeps the weights of the best, and ends a run that has gone wrong."""

    def __init__(
        self,
        entry: Entry,
        predict: RowPredictor,
        valid: HeldRows,
        patience: int | None,
        on_epoch: Callable[[int], None],
    ):
        super().__init__()
        self.entry = entry
        self.predict = predict
        self.valid = valid
        self.patience = patience
        self.on_epoch = on_epoch
        self.curve: list[dict[str, float]] = []
        self.step_seconds: list[float] = []
        self.best_epoch, self.best_score = 0, -np.inf
        self.best_weights: list[np.ndarray] = []

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._step_began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        self.step_seconds.append(time.perf_counter() - self._step_began)
        if not np.isfinite(loss):
            raise RunFailed(f"the loss became {loss} in epoch {len(self.curve) + 1}, step {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        figures = valid_figures(self.entry.schema, self.valid, self.predict(self.valid))
        losses = {name: float(value) for name, value in (logs or {}).items() if name.endswith("loss")}
        reached = score(self.entry.schema, figures)
        self.curve.append({**losses, **{f"val_{name}": value for name, value in figures.items()}, "val_score": reached})
        if np.isnan(reached):
            raise RunFailed(
                f"the predictions of the validation rows have no score after epoch {epoch + 1}: NaN in them?"
            )
        if reached > self.best_score:
            self.best_epoch, self.best_score = epoch + 1, reached
            self.best_weights = self.model.get_weights()
        elif self.patience is not None and epoch + 1 - self.best_epoch >= self.patience:
            self.model.stop_training = True
        self.on_epoch(epoch + 1)

"""The epoch that suits all tasks."""

import math
import warnings
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import keras
from tfmtl.training.model_files import WEIGHTS, check_model_path, read_state, save_whole, write_state
from tfmtl.training.watched_figures import Mode, WatchedFigures


class BestCheckpoint(keras.callbacks.Callback):
    """Keeps the epoch in which the main task is best while no other has fallen by more than a tolerance.

    ```
    epoch t replaces the kept epoch s  if  main_t > main_s   and   other_t >= max over all epochs kept so far - tolerance
    ```

    with "above" and "max" read as "better" for figures that fall. The others are held against the best that any *kept* epoch had:
    against the last kept one alone, a figure could sink by the tolerance again and again. So at the end no task is further
    than the tolerance below what it had in any epoch that was kept. The first epoch is kept if its figures are numbers; an
    epoch with one that is not is never kept. Where the others had one lucky epoch, a larger tolerance gives the main task room.

    It reads the logs: put it *after* `Validation`, or give `fit` its `validation_data`. Epochs without an evaluation are passed
    over. A run that resumes (`Resume`, `initial_epoch`) goes on from what lies beside `filepath`.

    Under several workers the chief writes; `filepath` must be one that all of them see.

    Args:
        main: the name of the main task's figure in the logs, such as `"val_click_auc"`.
        others: the names of the figures that must not fall.
        tolerance: how much they may fall, for all or by name.
        mode: `"max"` or `"min"`, for all or by name; None goes by the end of the names: `auc` up, `loss`, `rmse`, `mse` down.
        filepath: where the kept epoch is written, `"best.keras"` (the model) or `"best.weights.h5"`; beside it lies
            `{filepath}.json`, what was kept. None keeps the weights in memory.
        restore_best_weights: whether the model has the kept weights when `fit` ends.
        patience: int, ends `fit` after so many evaluations in a row that kept nothing; None never does.

    Attributes:
        best_epoch: the epoch that was kept, from 0; None before the first.
        best: its figures.

    Raises:
        ValueError: a name twice, a tolerance that is negative or of another figure, a mode that is unknown, a `filepath` that
            ends otherwise, a `patience` below 1, and logs without the figures.

    Example:

    ```python
    keep = BestCheckpoint("val_buy_auc", ["val_click_auc"], tolerance=0.001, filepath="best.keras")
    model.fit(train, epochs=20, callbacks=[Validation(valid, schema), keep])
    print(keep.best_epoch, keep.best)
    ```
    """

    def __init__(
        self,
        main: str,
        others: Iterable[str],
        *,
        tolerance: float | Mapping[str, float] = 0.001,
        mode: Mode | Mapping[str, Mode] | None = None,
        filepath: str | PathLike[str] | None = None,
        restore_best_weights: bool = True,
        patience: int | None = None,
    ):
        super().__init__()
        self.main = main
        self.figures = WatchedFigures([main, *([others] if isinstance(others, str) else others)], mode)
        self.others = self.figures.names[1:]
        self.tolerance = _tolerances(tolerance, self.others)
        self.filepath = None if filepath is None else check_model_path("filepath", filepath)
        self.restore_best_weights = restore_best_weights
        self.patience = None if patience is None else check_count("patience", patience)
        self._begin()

    def _begin(self) -> None:
        self.best_epoch: int | None = None
        self.best: dict[str, float] = {}
        self._floor: dict[str, float] = {}  # the best that each of the others had in a kept epoch
        self._weights: list[Any] | None = None
        self._waited = 0
        self._started = False

    @property
    def _state_path(self) -> Path | None:
        return None if self.filepath is None else self.filepath.with_name(f"{self.filepath.name}.json")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begin()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._started:
            return
        self._started = True
        state = read_state(self._state_path) if self._state_path is not None and epoch > 0 else None
        if (
            state is not None
            and set(state["best"]) == set(self.figures.names)
            and set(state["floor"]) == set(self.others)
        ):
            self.best_epoch, self.best, self._floor = state["epoch"], state["best"], state["floor"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        found = self.figures.read(logs)
        if found is None:
            return
        if self._is_kept(found):
            self._waited = 0
            self._keep(epoch, found)
        else:
            self._waited += 1
            if self.patience is not None and self._waited >= self.patience:
                self.model.stop_training = True

    def _is_kept(self, found: dict[str, float]) -> bool:
        if not all(map(math.isfinite, found.values())):
            return False
        if self.best_epoch is None:
            return True
        if self.figures.gain(self.main, found[self.main], self.best[self.main]) <= 0:
            return False
        return all(
            self.figures.gain(name, found[name], self._floor[name]) >= -self.tolerance[name] for name in self.others
        )

    def _keep(self, epoch: int, found: dict[str, float]) -> None:
        self.best_epoch, self.best = epoch, found
        for name in self.others:
            if name not in self._floor or self.figures.gain(name, found[name], self._floor[name]) > 0:
                self._floor[name] = found[name]
        if self.filepath is not None and self._state_path is not None:
            save_whole(self.model, self.filepath)
            write_state(self.model, self._state_path, {"epoch": epoch, "best": found, "floor": self._floor})
        if self.restore_best_weights:
            self._weights = self.model.get_weights()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.best_epoch is None:
            warnings.warn(
                f"No epoch was kept: none had {list(self.figures.names)} as numbers. The model has its last weights.",
                stacklevel=2,
            )
        elif self.restore_best_weights:
            self._restore()

    def _restore(self) -> None:
        if self._weights is not None:
            self.model.set_weights(self._weights)
        elif self.filepath is not None:  # kept before the run was interrupted
            if self.filepath.name.endswith(WEIGHTS):
                self.model.load_weights(self.filepath)
            else:
                self.model.set_weights(keras.models.load_model(self.filepath, compile=False).get_weights())


def _tolerances(given: float | Mapping[str, float], others: tuple[str, ...]) -> dict[str, float]:
    by_name = dict(given) if isinstance(given, Mapping) else dict.fromkeys(others, given)
    if set(by_name) != set(others) or not all(value >= 0 for value in by_name.values()):
        raise ValueError(
            f"`tolerance` must be >= 0, one for all or one for each of {list(others)}. Received: tolerance={given!r}"
        )
    return by_name
